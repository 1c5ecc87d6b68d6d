"""The records of a run: rows of metrics, the progress line, and the metadata of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from electra_jax.training.distributed import is_first
from electra_jax.training.metrics_log import MetricsLog, NoLog
from electra_jax.training.progress import Progress, figures_of
from electra_jax.training.run import Run
from electra_jax.training.step import Packing
from electra_jax.training.windows import Clock, Window


class Logbook:
    """The records of one call of `fit`: rows of metrics, the progress line, and the metadata of
    checkpoints. `meta`: the metadata of the checkpoint of step `start`."""

    def __init__(self, run: Run, start: int, meta: Mapping[str, Any]) -> None:
        self.run = run
        self.log = (
            MetricsLog(run.workdir, resume_step=start, tensorboard=run.tensorboard, wandb=run.wandb)
            if is_first()
            else NoLog()
        )
        self.progress = Progress(
            run.settings.steps,
            start=start,
            quiet=run.quiet or not is_first(),
            figures=figures_of(run.objective.metrics),
        )
        self.window: Window | None = None
        self.clock = Clock(seconds=meta.get("seconds", 0.0))
        self.clock.logged()
        self.tokens = meta.get("tokens", 0.0)
        self._restored = meta.get("window")
        self._to_log: int | None = None  # the step whose row is still to be written

    def open_window(self, packing: Packing) -> None:
        """The first window, once the traced step has the names of its sums."""
        self.window = Window(packing, self.run.objective.coefficients)
        if self._restored:
            self.window.steps, self.window.total = self._restored[0], np.array(self._restored[1])

    def add(self, step: int, vector: jax.Array) -> None:
        """Keeps the sums of update number `step`, counted from 1. A row that is due is written
        later, when the next step has been dispatched."""
        s = self.run.settings
        assert self.window is not None
        self.window.add(step, vector)
        self.progress.update(step, self._recent(step) if self.progress.wants_figures() else None)
        if step % s.log_every == 0 or step == s.steps:
            self.write_row()  # of the step just before
            self._to_log = step

    def begin(self, origin: str) -> None:
        """Prints where the run begins and how its loss is made up, once."""
        self.progress.note(f"{self.run.workdir}: {origin}")
        for line in self.run.objective.explain():
            self.progress.note(line)

    def _recent(self, step: int) -> dict[str, float]:
        """The metrics since the last row, for the screen: of the steps before `step`, which the
        device may still compute. Nothing that is written depends on it."""
        assert self.window is not None
        sums = self.window.peek(step - 1)
        if sums is None:
            return {}
        seconds = max(self.clock.lap(), 1e-9)
        return {
            **self.run.objective.summarize(sums),
            "tokens_per_second": float(sums["tokens"][0]) / seconds,
        }

    def row_before(self, step: int) -> bool:
        """Whether the row of an earlier step has not been written yet."""
        return self._to_log is not None and step > self._to_log

    def write_row(self) -> None:
        """Writes the row of training metrics that is due, if any."""
        step, self._to_log = self._to_log, None
        if step is None:
            return
        assert self.window is not None
        self.window.settle(step)
        passed = max(self.clock.lap(), 1e-9)
        sums = self.window.take()
        row = {"step": step, **self.run.objective.summarize(sums)}
        row["learning_rate"] = float(self.run.schedule(step - 1))
        row["gradient_norm"] = float(sums["gradient_norm"][0] / sums["gradient_norm"][1])
        seen = float(sums["tokens"][0])
        self.tokens += seen
        row["tokens_per_second"] = seen / passed
        row["seconds"] = self.clock.seconds
        self.clock.logged()
        self.show(step, row)

    def show(self, step: int, row: Mapping[str, float]) -> None:
        """Writes a row of metrics to the file and the terminal, and what the watch-dog makes of
        it."""
        self.log.write(row)
        self.progress.update(step, row)
        if self.run.watch is not None and (warning := self.run.watch(row, self.tokens)):
            self.progress.note(warning)

    def metadata(self, step: int) -> dict[str, Any]:
        """The metadata of the checkpoint of this step, with all sums up to it fetched."""
        if self.window is not None:
            self.window.settle(step)
        self.clock.lap()
        window = self.window
        return {
            "examples_seen": step * self.run.settings.batch_size,
            "seconds": self.clock.seconds,
            "tokens": self.tokens,
            "window": None if window is None else [window.steps, window.total.tolist()],
        }

    def close(self) -> None:
        """Ends the log and the line of progress."""
        self.log.close()
        self.progress.close()


def due(step: int, every: int) -> bool:
    """Whether something that happens every `every` steps (0: never) happens at `step`."""
    return every > 0 and step % every == 0
