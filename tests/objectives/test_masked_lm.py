"""The masked-LM baseline: the generator of a pair, alone."""

import dataclasses

import jax
import pytest
from objectives.tiny import (
    batch_sums,
    draws_of,
    init_params,
    losses,
    rows_of,
    tiny_objective,
)

from electra_jax.config.model import PairConfig
from electra_jax.objectives.base import DENOMINATOR_EPSILON
from electra_jax.objectives.masked_lm import MaskedLMObjective


def test_the_masked_lm_baseline_is_the_generator_s_term_alone():
    pair = tiny_objective(seq_len=32, mask_prob=0.25)
    shape = pair.config.generator
    objective = MaskedLMObjective(shape, pair.masking)
    params = init_params(objective, jax.random.key(0))
    assert dict(objective.coefficients) == {"generator_loss": 1.0}
    batch = {"input_ids": rows_of([[32], [20]], 32)}
    terms, metrics = batch_sums(objective, params, batch, draws_of(2), False)
    row = losses(objective, {**terms, **metrics})
    assert set(terms) == {"generator_loss"}
    assert row["loss"] == pytest.approx(row["generator_loss"], rel=1e-5)
    assert float(objective.weights(batch)["generator_loss"]) == float(terms["generator_loss"][1])
    assert float(metrics["tokens"][0]) == 52

    # The same network as the generator of a pair with embeddings of its own.
    pair = tiny_objective(seq_len=32, mask_prob=0.25, sharing="none")
    pair = dataclasses.replace(pair, config=PairConfig(shape, shape, "none"))
    both = init_params(pair, jax.random.key(1))
    both = {
        **both,
        "generator": params["electra"],
        "generator_predictions": params["generator_predictions"],
    }
    paired, _ = batch_sums(pair, both, batch, draws_of(2), False)
    mean = [
        float(t["generator_loss"][0] / (t["generator_loss"][1] + DENOMINATOR_EPSILON))
        for t in (terms, paired)
    ]
    assert mean[0] == pytest.approx(mean[1], rel=1e-6)
