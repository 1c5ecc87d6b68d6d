"""Many runs of one configuration: every combination of some overrides, a work folder each, and a
table of their final figures."""

from __future__ import annotations

import itertools
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.objectives.base import Metric
from electra_jax.reporting.page import write_report
from electra_jax.training.metrics_log import EVAL, read_metrics, read_rows
from electra_jax.training.progress import human_figure
from electra_jax.training.stopping import TERMINATED


def combinations(varied: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """{name of a run: its overrides} for every combination, the last key changing fastest.

    A name is `learning_rate=1e-4,seed=0`: the last part of each key, or all of it where two keys
    end alike. Raises UserError where nothing varies.
    """
    if not varied or not all(varied.values()):
        raise UserError("nothing varies: give --vary.optimizer.learning_rate=1e-4,5e-4")
    ends = [key.rpartition(".")[2] for key in varied]
    short = [end if ends.count(end) == 1 else key for key, end in zip(varied, ends, strict=True)]
    found: dict[str, list[str]] = {}
    for values in itertools.product(*varied.values()):
        parts = (f"{key}={value}".replace("/", "_") for key, value in zip(short, values))
        overrides = [f"--config.{key}={value}" for key, value in zip(varied, values)]
        name = ",".join(parts)
        if name in found:
            raise UserError(f"--vary: {name} is given twice")
        found[name] = overrides
    return found


def run_all(
    verb: str,
    workdir: Path,
    arguments: Sequence[str],
    varied: Mapping[str, Sequence[str]],
    *,
    through: str | None = None,
    dry_run: bool = False,
) -> int:
    """Runs every combination one after the other and prints the table; returns an exit code.

    verb: `pretrain` or `finetune`.
    arguments: what every run gets, without --workdir.
    through: a command that starts each run (default: this Python), such as
        `launch/slurm.sh --gpus=8 --`; it gets the run's arguments.
    dry_run: prints the commands and runs none.

    A run that is finished is not run again, one that was interrupted resumes, one that fails does
    not keep the others from running. SIGTERM reaches the run under way and ends the sweep.
    """
    runs = combinations(varied)
    codes: dict[str, int] = {}
    start = shlex.split(through) if through else [sys.executable, "-m", "electra_jax", verb]
    for name, overrides in runs.items():
        folder = workdir / name
        command = [*start, *arguments, *overrides, f"--workdir={folder}"]
        if (folder / "report.html").exists():
            print(f"{name}: done")
            continue
        print(f"{name}: {shlex.join(command)}", flush=True)
        if dry_run:
            continue
        codes[name] = _run(command)
        if codes[name] == TERMINATED:
            return TERMINATED
    if dry_run:
        return 0
    begun = [name for name in runs if (workdir / name / "metrics.jsonl").exists()]
    if begun:
        metrics = (metric for name in begun for metric in read_metrics(workdir / name))
        shown = tuple(dict.fromkeys(metrics))
        print("\n".join(table({name: read_rows(workdir / name) for name in begun}, shown)))
        print(write_report([workdir / name for name in begun], workdir / "report.html"))
    failed = [name for name, code in codes.items() if code]
    for name in failed:
        print(f"{name}: ended with {codes[name]}", file=sys.stderr)
    return 1 if failed else 0


def _run(command: list[str]) -> int:
    """The exit code of a command that gets this process's SIGTERM."""
    try:
        process = subprocess.Popen(command)
    except OSError as error:
        raise UserError(f"cannot start {command[0]}: {error.strerror}") from error
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    except KeyboardInterrupt:  # the run has it too, and saves first
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


def table(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], metrics: Sequence[Metric] = ()
) -> list[str]:
    """Lines of a table: each run's last step and last held-out figures (of training, without): the
    loss and the headline ones of `metrics`."""
    last: dict[str, dict[str, Any]] = {}
    for name, rows in runs.items():
        figures: dict[str, Any] = {}
        for row in rows:
            figures |= {key: value for key, value in row.items() if value is not None}
        last[name] = figures
    headlines = dict.fromkeys(metric.key for metric in metrics if metric.headline)
    keys = [k for k in ("loss", *headlines) if any(k in f or EVAL + k in f for f in last.values())]
    cells = [["run", "step", *keys]]
    for name, figures in last.items():
        values = [figures.get(EVAL + key, figures.get(key)) for key in keys]
        shown = ["" if value is None else human_figure(value) for value in values]
        cells.append([name, str(figures.get("step", 0)), *shown])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
        ).rstrip()
        for row in cells
    ]
