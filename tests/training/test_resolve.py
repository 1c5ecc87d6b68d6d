"""Durations, intervals and the learning rate come to the same for pretraining and fine-tuning."""

import dataclasses

import numpy as np
import pytest

from electra_jax.config.finetuning import FinetuneOptimizer, FinetuneTrain
from electra_jax.config.pretraining import PretrainOptimizer, PretrainTrain
from electra_jax.errors import UserError
from electra_jax.training.resolve import (
    RunLength,
    learning_rate,
    loop_settings,
    run_length,
    steps_per_epoch,
)
from electra_jax.training.schedules import learning_rate_schedule


def pretraining(train, optimizer=None, examples=1000, seq_len=128):
    return run_length(
        PretrainTrain(**{"steps": None, "batch_size": 32, **train}),
        PretrainOptimizer(**{"warmup_steps": None, **(optimizer or {})}),
        examples=examples,
        seq_len=seq_len,
    )


def finetuning(train, optimizer=None, examples=1000):
    return run_length(
        FinetuneTrain(**{"epochs": None, "batch_size": 32, "min_steps": 0, **train}),
        FinetuneOptimizer(**(optimizer or {})),
        examples=examples,
        seq_len=20,
        whole_batches=True,
    )


@pytest.mark.parametrize(
    ("train", "optimizer", "length"),
    [
        ({"steps": 500}, {"warmup_steps": 7}, (500, 7)),
        ({"tokens": 1e6}, {"warmup_tokens": 41_000}, (245, 11)),
        ({"epochs": 2.5}, {"warmup_epochs": 0.5}, (78, 16)),  # batches go on across epochs
        ({"steps": 500}, {"warmup_fraction": 0.1}, (500, 50)),
        ({"steps": 500}, {}, (500, 0)),
    ],
)
def test_pretraining_in_any_unit(train, optimizer, length):
    assert pretraining(train, optimizer) == length


@pytest.mark.parametrize(
    ("train", "length"),
    [
        ({"epochs": 2.5}, (80, 8)),  # epochs of 32 batches, the last of 8 examples
        ({"epochs": 1 / 32}, (1, 0)),
        ({"epochs": 2.5, "min_steps": 200}, (200, 20)),
        ({"steps": 10, "min_steps": 200}, (10, 1)),
    ],
)
def test_fine_tuning_counts_whole_batches_and_a_least_number_of_steps(train, length):
    assert finetuning(train) == length
    assert steps_per_epoch(FinetuneTrain(batch_size=32), 1000) == 32


@pytest.mark.parametrize(
    ("kind", "train", "message"),
    [
        (pretraining, {}, "train.steps, train.epochs, train.tokens or train.minutes must"),
        (finetuning, {}, "train.steps or train.epochs must be set: how long to train"),
        (finetuning, {"steps": 3, "epochs": 1.0}, "both set"),
        (pretraining, {"minutes": 5.0}, "train.minutes=5 becomes steps when a run begins"),
        (pretraining, {"tokens": 0.0}, "train: 0 steps; must be at least 1"),
        (finetuning, {"epochs": 0.0}, "train: 0 steps"),
    ],
)
def test_a_length_that_cannot_be_meant_is_refused(kind, train, message):
    with pytest.raises(UserError, match=message):
        kind(train)


def test_rows_of_unknown_number_have_no_epochs():
    assert pretraining({"steps": 5}, examples=None).steps == 5
    with pytest.raises(UserError, match="number of examples is not known"):
        pretraining({"epochs": 1.0}, examples=None)


def test_the_loop_is_set_by_train_but_for_what_a_run_decides():
    train = PretrainTrain(
        batch_size=8, seed=3, accumulate=2, log_every=5, eval_every=6, checkpoint_every=7,
        keep=4, keep_every=9,
    )  # fmt: skip
    settings = loop_settings(train, 12)
    shared = {f.name for f in dataclasses.fields(settings)} - {"steps", "sequential"}
    assert settings.steps == 12 and not settings.sequential
    assert all(getattr(settings, name) == getattr(train, name) for name in shared)
    changed = loop_settings(train, 12, seed=8, eval_every=2, sequential=True)
    assert changed.sequential
    assert (changed.seed, changed.eval_every, changed.log_every) == (8, 2, 5)


def test_the_learning_rate_is_the_schedule_of_the_settings():
    steps = np.arange(0, 120, 7)
    optimizer = PretrainOptimizer(schedule="wsd", decay_fraction=0.3, start_step=20)
    found = learning_rate(optimizer, 0.5, RunLength(100, 10))(steps)
    expected = learning_rate_schedule(0.5, 100, 10, decay="wsd", decay_fraction=0.3, offset=20)(
        steps
    )
    np.testing.assert_array_equal(found, expected)
    tuned = learning_rate(FinetuneOptimizer(power=2.0), 0.5, RunLength(100, 10))(steps)
    np.testing.assert_array_equal(tuned, learning_rate_schedule(0.5, 100, 10, power=2.0)(steps))
