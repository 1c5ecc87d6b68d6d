"""Several seeds of a fine-tuning run, and restarts of a run that did not learn."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from electra_jax.config.finetuning import FinetuneSettings, read_finetune
from electra_jax.errors import DivergedError
from electra_jax.finetuning.blocks import failure_block
from electra_jax.finetuning.result import (
    RESTART_STEP,
    Result,
    describe_result,
    summarize,
    write_figures,
    write_result,
)
from electra_jax.finetuning.run import FineTuning
from electra_jax.reporting.page import write_report
from electra_jax.training.accumulation import kept
from electra_jax.training.workdir import recorded_config, resumed_config

log = logging.getLogger(__name__)


def train_with_restarts(
    config: Mapping[str, Any], workdir: Path, seed: int, quiet: bool, shared: dict[str, Any]
) -> Result:
    """Trains one seed; a run that did not learn is restarted with another seed, at most
    `train.restarts` times, and kept as `failed-N/`.

    Where the last attempt diverges: with several seeds the result has no scores, with one the
    `DivergedError` is raised.
    """
    attempt = 0
    while (workdir / f"failed-{attempt + 1}").is_dir():
        attempt += 1
    while True:
        attempt_seed = seed + RESTART_STEP * attempt
        last = attempt >= config["train"]["restarts"]
        run = FineTuning.build(config, workdir, quiet=quiet, seed=attempt_seed, **shared)
        config = run.config  # with the values of a resumed run, also for the next attempt
        shared |= {"start": run.start, "data": run.data}
        try:
            result = dataclasses.replace(run.train(), restarts=attempt)
        except DivergedError as error:
            if last and config["seeds"] == 1:
                raise
            result = _without_scores(run, str(error), attempt)
        if result.failure is None or last:
            write_result(workdir, result)
            return result
        log.warning("seed %d did not learn: %s; starting again", attempt_seed, result.failure)
        attempt += 1
        _put_aside(workdir, workdir / f"failed-{attempt}")


def _without_scores(run: FineTuning, why: str, restarts: int) -> Result:
    write_figures(run.workdir / "report.json", [failure_block(why)])
    write_report([run.workdir], run.workdir / "report.html")
    trained, alone, total = run.parameters()
    return Result(
        run.seed, 0, run.data.metric, None, {}, {}, why, restarts, trained, alone, total, 0.0
    )


def _put_aside(workdir: Path, aside: Path) -> None:
    scratch = aside.with_name(f"{aside.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for entry in list(workdir.iterdir()):
        if not entry.name.startswith(("failed-", ".lock")):
            entry.rename(scratch / entry.name)
    scratch.rename(aside)


def finetune(config: Mapping[str, Any], workdir: str | Path, quiet: bool = False) -> list[Result]:
    """Trains every seed of a configuration: several in a folder `seed-N/` each, with results.json
    and a common report."""
    workdir, given = Path(workdir), read_finetune(config)
    seeds, first = given.seeds, given.train.seed
    numbers = range(first, first + seeds)
    folders = [workdir if seeds == 1 else workdir / f"seed-{seed}" for seed in numbers]
    recorded = next(filter(None, map(recorded_config, folders)), None)
    config = kept(resumed_config(config, recorded, FinetuneSettings), recorded)
    shared: dict[str, Any] = {}
    results = []
    for seed, folder in zip(numbers, folders, strict=True):
        results.append(train_with_restarts(config, folder, seed, quiet, shared))
        config = kept(config, recorded_config(folder))  # all seeds as the first
        if not quiet and seeds > 1:
            print(f"seed {seed}: {describe_result(results[-1])}")
    if seeds > 1:
        each = [dataclasses.asdict(result) for result in results]
        write_figures(workdir / "results.json", {"summary": summarize(results), "seeds": each})
        folders = [workdir / f"seed-{r.first_seed}" for r in results]
        write_report(folders, workdir / "report.html")
    return results
