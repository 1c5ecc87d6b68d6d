"""One small classifier whose parameters the adaptations split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finetuning.tiny_task import CONFIG

from electra_jax.finetuning.network import Network


@pytest.fixture(scope="session")
def network():
    return Network(CONFIG, "classification", 3)


@pytest.fixture(scope="session")
def params(network):
    return jax.jit(network.init)(jax.random.key(1))


@pytest.fixture(scope="session")
def batch():
    ids = np.random.default_rng(0).integers(5, 90, (4, 16)).astype(np.int32)
    return {
        "input_ids": jnp.asarray(ids),
        "token_type_ids": jnp.zeros_like(ids),
        "lengths": jnp.asarray([16, 9, 3, 1], jnp.int32),
    }
