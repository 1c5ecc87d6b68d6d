"""Adaptations: every one starts as its base; counts of what is trained."""

import jax
import numpy as np
import pytest
from finetuning.tiny_task import CONFIG

from electra_jax.modeling.peft.base import Full, count
from electra_jax.modeling.peft.bitfit import BitFit
from electra_jax.modeling.peft.lora import LoRA
from electra_jax.modeling.trees import flatten

ATTENTION = "self/(query|value)/kernel"


@pytest.mark.parametrize(
    "adaptation",
    [Full(), BitFit(), LoRA(4, embedding_rank=0), LoRA()],
    ids=["full", "bitfit", "lora of kernels", "lora"],
)
def test_the_network_starts_as_its_base(adaptation, network, params, batch):
    trained, frozen = adaptation.split(params, jax.random.key(2))
    merged = adaptation.merge(trained, frozen)
    before, after = flatten(params), flatten(merged)
    assert before.keys() == after.keys()
    run = jax.jit(network)
    expected = run(params, batch)["logits"]
    np.testing.assert_array_equal(run(merged, batch)["logits"], expected)


def test_counts_with_and_without_the_head(params):
    trained, frozen = LoRA(4, targets=ATTENTION, embedding_rank=0).split(params, jax.random.key(0))
    assert count(trained, head=False) == 2 * 2 * (32 * 4 + 4 * 32)
    assert count(trained) == count(trained, head=False) + 32 * 32 + 32 + 32 * 3 + 3
    assert count(frozen) == count(params, head=False)
    words, _ = LoRA(4, targets=ATTENTION, embedding_rank=2).split(params, jax.random.key(0))
    size, width = CONFIG.vocab_size, CONFIG.embedding_size
    assert count(words) == count(trained) + 2 * (size + width)
