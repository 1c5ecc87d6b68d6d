"""Outputs come back in order, without padding, and alike in any batch."""

import jax
import numpy as np
import pytest
from finetuning.tiny_task import CONFIG

from electra_jax.finetuning.data.batches import Plan
from electra_jax.finetuning.forward import Forward
from electra_jax.finetuning.network import Network

RNG = np.random.default_rng(0)


def feature(length):
    ids = RNG.integers(5, 90, length).astype(np.int32)
    return {
        "input_ids": ids,
        "token_type_ids": np.zeros(length, np.int32),
        "word_positions": np.arange(1, length, 2, dtype=np.int32),
    }


@pytest.fixture(scope="module")
def tagger():
    network = Network(CONFIG.replace(num_hidden_layers=1), "tagging", 3)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return network, jax.tree.map(lambda x: RNG.normal(0, 0.2, x.shape).astype(np.float32), shapes)


def test_outputs_are_in_the_order_of_the_features_whatever_the_batches(tagger):
    """Lengths that the buckets reorder, a last batch that is not full, one feature a call."""
    network, params = tagger
    forward = Forward(network, Plan((8, 16), 4, 0, fields=network.kind.fields))
    features = [feature(n) for n in (12, 3, 16, 7, 8, 5, 9)]
    found = forward(params, features)
    assert [x["logits"].shape for x in found] == [(len(f["word_positions"]), 3) for f in features]
    for one, together in zip(features, found, strict=True):
        (alone,) = forward(params, [one])
        np.testing.assert_allclose(alone["logits"], together["logits"], atol=1e-5)
    assert forward(params, []) == []


def test_trained_and_frozen_parameters_are_merged_in_the_program(tagger):
    network, params = tagger
    plan = Plan((8, 16), 4, 0, fields=network.kind.fields)
    split = Forward(network, plan, merge=lambda head, encoder: {**encoder, "classifier": head})
    one = feature(6)
    encoder = {"electra": params["electra"]}
    (merged,) = split(params["classifier"], [one], encoder)
    (whole,) = Forward(network, plan)(params, [one])
    np.testing.assert_array_equal(merged["logits"], whole["logits"])
