"""Durations, intervals and the learning rate of a configuration in steps, once the data are known:
for pretraining and fine-tuning alike."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from electra_jax.config.model import duration
from electra_jax.config.schedule import Scheduled
from electra_jax.config.training import AUTO, DURATIONS, OptimizerSettings, TrainSettings
from electra_jax.errors import UserError
from electra_jax.training.run import LoopSettings
from electra_jax.training.schedules import RateSchedule, learning_rate_schedule


class RunLength(NamedTuple):
    """Updates of a run, and of its warm-up."""

    steps: int
    warmup: int


def run_length(
    train: TrainSettings,
    optimizer: OptimizerSettings,
    *,
    examples: int | None,
    seq_len: int,
    whole_batches: bool = False,
) -> RunLength:
    """From whichever units `train.*` and `optimizer.warmup_*` are given in.

    examples: of an epoch; None where they are not known. seq_len: mean length, in tokens.
    whole_batches: an epoch ends with a smaller batch, and a run given in epochs has `min_steps` at
        least; without, batches go on from one epoch to the next.
    """
    given = dataclasses.asdict(train)
    if given.get("minutes") is not None and train.steps is None:
        raise UserError(
            f"train.minutes={given['minutes']:g} becomes steps when a run begins: give train.steps "
            "here"
        )
    size = {"batch_size": train.batch_size, "seq_len": seq_len, "examples": examples}
    steps = duration(given, "", **size)  # type: ignore[arg-type]
    if steps is None:
        units = [f"train.{u}" for u in dict(DURATIONS)["train"] if hasattr(train, u)]
        names = f"{', '.join(units[:-1])} or {units[-1]}"
        raise UserError(f"{names} must be set: how long to train")
    if whole_batches and train.epochs is not None and examples is not None:
        steps = math.ceil(train.epochs * steps_per_epoch(train, examples))
        steps = max(steps, getattr(train, "min_steps", 0))
    if steps < 1:
        raise UserError(f"train: {steps} steps; must be at least 1")
    warmup = duration(dataclasses.asdict(optimizer), "warmup", **size, total_steps=steps)  # type: ignore[arg-type]
    return RunLength(steps, warmup or 0)


def steps_per_epoch(train: TrainSettings, examples: int) -> int:
    """Batches that hold every example once."""
    return -(-examples // train.batch_size)


def loop_settings(train: TrainSettings, steps: int, **changes: Any) -> LoopSettings:
    """The loop's settings: `train.*`, with `changes` where a run decides otherwise. A
    `train.accumulate=auto` that is not settled yet counts as 1."""
    if train.accumulate == AUTO:
        changes = {"accumulate": 1, **changes}
    names = {f.name for f in dataclasses.fields(LoopSettings)} - {"steps", "sequential", *changes}
    return LoopSettings(steps=steps, **{n: getattr(train, n) for n in names}, **changes)


def learning_rate(
    optimizer: OptimizerSettings,
    peak: Scheduled,
    length: RunLength,
    tokens_per_step: float | None = None,
) -> RateSchedule:
    """The learning rate by step. tokens_per_step: for a `peak` that counts tokens."""
    return learning_rate_schedule(
        peak,
        length.steps,
        length.warmup,
        decay=optimizer.schedule,
        power=optimizer.power,
        decay_fraction=optimizer.decay_fraction,
        decay_floor=optimizer.decay_floor,
        offset=getattr(optimizer, "start_step", 0),
        tokens_per_step=tokens_per_step,
    )
