"""Heads of one's own: several over one encoder, each under its name."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from finetuning.tiny_task import CONFIG

from electra_jax.config.model import ElectraConfig
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.modeling.heads.headed import Headed
from electra_jax.modeling.heads.huggingface import Encoder
from electra_jax.modeling.layers import Dense
from electra_jax.modeling.trees import flatten


class _Intent(nn.Module):
    config: ElectraConfig
    labels: int

    @nn.compact
    def __call__(self, hidden, batch, rng, train):
        return {"intent": Dense(self.config, self.labels, name="dense")(hidden[:, 0])}


class _Slots(nn.Module):
    config: ElectraConfig
    labels: int

    @nn.compact
    def __call__(self, hidden, batch, rng, train):
        logits = Dense(self.config, self.labels, name="dense")(hidden)
        return {"slots": logits + 100.0 * batch["bias"][..., None] * train}


def test_two_heads_over_one_encoder():
    ids = jnp.asarray(np.random.default_rng(0).integers(5, 90, (2, 8)))
    inputs = Inputs(ids, padding_mask(ids))
    heads = (("intent", partial(_Intent, CONFIG, 3)), ("slots", partial(_Slots, CONFIG, 5)))
    model, batch = Headed(CONFIG, heads), {"bias": jnp.ones((2, 8))}
    params = jax.jit(model.init)(jax.random.key(0), inputs, batch)["params"]
    names = {n for n in flatten(params) if not n.startswith("electra/")}
    assert names == {
        f"{h}/dense/{leaf}" for h in ("intent", "slots") for leaf in ("kernel", "bias")
    }
    hidden = Encoder(CONFIG).apply({"params": {"electra": params["electra"]}}, inputs)
    found = model.apply({"params": params}, inputs, batch)
    assert found["intent"].shape == (2, 3) and found["slots"].shape == (2, 8, 5)
    kernel, bias = params["intent"]["dense"]["kernel"], params["intent"]["dense"]["bias"]
    np.testing.assert_allclose(found["intent"], hidden[:, 0] @ kernel + bias[None], atol=1e-5)
    training = model.apply({"params": params}, inputs, batch, None, True)
    np.testing.assert_allclose(training["slots"], found["slots"] + 100.0, rtol=1e-5)
