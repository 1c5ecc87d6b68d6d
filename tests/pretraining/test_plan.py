"""What follows from a configuration and the shape of the rows, without devices."""

import numpy as np

from electra_jax.config_file import load_config
from electra_jax.pretraining.dry_run import AssumedRows
from electra_jax.pretraining.plan import Plan, run_shape
from electra_jax.training.sharding import abstract_mesh

TINY = "--config=configs/pretrain.py:tiny"


def configured(*overrides):
    return load_config([TINY, *overrides])[0]


def test_the_objective_sees_the_most_segments_of_both_splits():
    train, held_out = AssumedRows(97, 32, max_segments=2), AssumedRows(97, 32, max_segments=5)
    config = configured("--config.train.batch_size=4")
    assert run_shape(config, train, held_out, 10).max_segments == 5
    assert run_shape(config, train, None, 10).max_segments == 2
    assert run_shape(config, train, None, 10).tokens_per_step == 4 * 32


def test_a_plan_in_tokens_has_the_steps_that_the_rows_need():
    config = configured("--config.train.tokens=12800", "--config.train.batch_size=4")
    plan = Plan.of(config, AssumedRows(97, 32), None)
    assert plan.settings.steps == 100
    np.testing.assert_allclose(float(plan.schedule(100)), 0, atol=1e-9)


def test_the_step_of_a_plan_is_of_whole_batches_and_a_device_s_rows():
    plan = Plan.of(configured("--config.train.batch_size=8"), AssumedRows(97, 32), None)
    assert plan.step(AssumedRows(97, 32), abstract_mesh({"data": 2}, 2)).rows == 4
