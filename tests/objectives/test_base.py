"""The contract of an objective, the total loss, and what a run tells its objective."""

from __future__ import annotations

import numpy as np
import pytest
from objectives.tiny import SPECIAL

from electra_jax.config.schedule import Schedule
from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.objectives.base import COEFFICIENT, PretrainingObjective, RunShape, total_loss
from electra_jax.objectives.table import build_objective


def test_total_is_the_weighted_sum_of_means():
    sums = {"a": (6.0, 3.0), "b": (1.0, 4.0), "unused": (1e9, 1.0)}
    np.testing.assert_allclose(total_loss({"a": 1.0, "b": 50.0}, sums), 2 + 12.5, rtol=1e-6)
    assert total_loss({"a": 1.0}, {"a": (0.0, 0.0)}) == 0


def run_shape(*overrides: str, steps: int = 100) -> RunShape:
    arguments = [f"--config.objective.{x}" for x in overrides]
    config, _ = load_config(["--config=configs/pretrain.py:tiny", *arguments])
    return RunShape(config, "rows", 97, SPECIAL, 32, 1, steps, 256)


def test_a_class_that_lacks_a_part_of_the_contract_cannot_be_made():
    class Half(PretrainingObjective):
        """Nothing."""

    with pytest.raises(TypeError, match="abstract"):
        Half()
    assert Half.__abstractmethods__ == {
        "coefficients", "init", "weights", "loss", "summarize", "from_config", "networks",
        "flops_per_token",
    }  # fmt: skip


def test_a_scheduled_coefficient_counts_as_its_mean_and_in_evaluation_as_its_final_value():
    schedule = Schedule.parse("linear(0, 4)").over(10)
    sums = {"a": (6.0, 3.0), COEFFICIENT + "a": (5.0, 2.0)}  # two steps, 2.5 on average
    assert total_loss({"a": schedule}, sums) == pytest.approx(2.5 * 2)
    assert total_loss({"a": schedule}, {"a": (6.0, 3.0)}) == pytest.approx(4 * 2)


def test_the_loss_of_several_terms_is_explained_once():
    def lines(*overrides):
        return build_objective(run_shape(*overrides)).explain()

    loss, skill = lines()  # tiny: temperature 2 → 1
    assert loss == "loss = Generator loss + 50 × Discriminator loss"
    assert "from 2 to 1" in skill and "held-out skill is at 1" in skill
    assert lines("temperature_fraction=0") == [loss]
    (falling,) = lines("temperature_fraction=0", "discriminator_weight=linear(50, 25)")
    assert falling == "loss = Generator loss + linear(50, 25) × Discriminator loss"
    assert lines("name=masked_lm") == []


def test_rows_longer_than_the_positions_are_refused():
    run = run_shape()
    run.check_positions(32)
    with pytest.raises(UserError, match=r"rows are 32 tokens long .* is 31: raise it, or prepare"):
        run.check_positions(31)
