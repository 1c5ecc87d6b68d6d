"""Objectives whose networks one configuration describes: what config.json records of them."""

import dataclasses

import numpy as np
import pytest
from objectives.tiny import tiny_objective
from rows_folder import write_rows

from electra_jax.config.fields import absent_values
from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.data.rows import Rows
from electra_jax.objectives.masked_lm import MaskedLMObjective


def objectives():
    pair = tiny_objective()
    return [pair, MaskedLMObjective(pair.config.discriminator, pair.masking)]


@pytest.mark.parametrize("objective", objectives(), ids=["pair", "masked_lm"])
def test_the_recorded_shapes_make_the_same_networks(objective):
    shapes = objective.shapes()
    if isinstance(objective.config, PairConfig):
        again = PairConfig(
            ElectraConfig(**shapes["discriminator"]),
            ElectraConfig(**shapes["generator"]),
            shapes["sharing"],
        )
    else:
        again = ElectraConfig(**shapes)
    assert again == objective.config
    assert objective.absent_shapes() == absent_values(type(objective.config))


@pytest.mark.parametrize("objective", objectives(), ids=["pair", "masked_lm"])
def test_the_report_compares_with_the_frequencies_of_the_held_out_rows(objective, tmp_path):
    rows = np.array([[2, 5, 6, 3]] * 4)
    held_out = Rows.open(write_rows(tmp_path / "rows", rows, rows), "eval")
    (block,) = objective.report_blocks(held_out)
    assert block["reference"] == {"generator_loss": pytest.approx(np.log(2))}
    assert dataclasses.is_dataclass(objective.config)
