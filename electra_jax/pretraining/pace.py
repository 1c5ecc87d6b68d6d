"""`train.minutes`: a run's length by the clock, turned into steps once, from the measured pace of
a few steps that are thrown away. The steps are recorded with the run, so that a resumed one is the
same run, on whatever machine."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from electra_jax.config.resolved import Config
from electra_jax.errors import UserError
from electra_jax.training.distributed import on_first
from electra_jax.training.loop import Run, fit
from electra_jax.training.metrics_log import read_rows

log = logging.getLogger(__name__)

TRIAL_STEPS = 16
SETTLING_STEPS = 4  # at the start of the trial; not timed
FORWARD_SHARE = 1 / 3  # of a step's time, where nothing is differentiated
SPARE = 0.02  # of the time, for checkpoints and the export


def steps_of_minutes(
    config: Config,
    recorded: Mapping[str, Any] | None,
    build: Callable[[Config], Run],
    evaluated_rows: int,
) -> Config:
    """The configuration with the `train.steps` that `train.minutes` of wall clock allow, counted
    from this call: trial, compilation and evaluations included.

    recorded: the configuration that the run in the work folder began with; its steps stay.
    build: a run of a configuration that has steps. evaluated_rows: rows of an evaluation.

    Raises `UserError` where the time is too short for one step.
    """
    train = (recorded or {}).get("train", {})
    minutes = config["train"]["minutes"]
    if train.get("minutes") == minutes and train.get("steps"):
        return config.replace({"train.steps": train["steps"]}, given=False)
    begin = time.perf_counter()
    pace = _seconds_per_step(config, build)
    every = config["train"]["eval_every"]
    evaluation = pace * FORWARD_SHARE * evaluated_rows / config["train"]["batch_size"]
    trial = time.perf_counter() - begin
    compilation = max(0.0, trial - TRIAL_STEPS * pace)  # once more, of the run itself
    left = 60 * minutes * (1 - SPARE) - trial - compilation - evaluation
    steps = on_first(lambda: int(left / (pace + (evaluation / every if every else 0))))
    if steps < 1:
        raise UserError(
            f"train.minutes={minutes:g}: too short for a step of {pace:.3g} s after {trial:.0f} s "
            "of measuring; give more minutes, or train.steps"
        )
    log.warning(
        "train.minutes=%g: %s steps of %.3g s each, measured on %d; recorded with the run",
        minutes, f"{steps:,}", pace, TRIAL_STEPS - SETTLING_STEPS,
    )  # fmt: skip
    return config.replace({"train.steps": steps}, given=False)


def _seconds_per_step(config: Config, build: Callable[[Config], Run]) -> float:
    """Of a run like this one that is thrown away."""
    trial = config.replace(
        {"train.steps": TRIAL_STEPS, "train.minutes": None, "train.log_every": SETTLING_STEPS},
        given=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = dataclasses.replace(
            build(trial),
            workdir=Path(folder),
            evaluations=(),
            checkpoints=None,
            before_save=None,
            initial=None,
            initial_moments=None,
            resume=None,
            watch=None,
            tensorboard=False,
            wandb=None,
            quiet=True,
        )
        fit(run)
        seconds = on_first(lambda: [float(row["seconds"]) for row in read_rows(Path(folder))])
    return (seconds[-1] - seconds[0]) / (TRIAL_STEPS - SETTLING_STEPS)
