"""Sums between two rows of metrics, and the seconds of training."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from electra_jax.config.schedule import Schedule
from electra_jax.errors import DivergedError
from electra_jax.objectives.base import total_loss
from electra_jax.training.step import Packing


class Window:
    """Metric sums since the last logged row. Vectors stay on the device until `settle`."""

    def __init__(self, packing: Packing, coefficients: Mapping[str, float | Schedule]) -> None:
        self._packing = packing
        self._coefficients = coefficients
        self._pending: list[tuple[int, jax.Array]] = []
        self.total = np.zeros(packing.size)
        self.steps = 0

    def add(self, step: int, vector: jax.Array) -> None:
        """Keeps the vector of update number `step`, counted from 1."""
        self._pending.append((step, vector))

    def settle(self, until: int) -> None:
        """Fetches what is pending up to step `until`. A loss or gradient that is not finite ends
        the run."""
        pending = [entry for entry in self._pending if entry[0] <= until]
        self._pending = self._pending[len(pending) :]
        for step, vector in pending:
            value = np.asarray(vector, np.float64)
            sums = self._packing.unpack(value)
            finite = np.isfinite(total_loss(self._coefficients, sums))
            if not finite or not np.isfinite(sums["gradient_norm"][0]):
                raise DivergedError(
                    f"the {'gradient' if finite else 'loss'} is not finite at step {step}: lower "
                    "optimizer.learning_rate, lengthen the warm-up, or use train.dtype=float32. "
                    "What was saved before stays; a run with other values needs another --workdir "
                    "(pretraining: --config.resume=THIS ONE goes on from its last checkpoint)"
                )
            self.total = self.total + value
            self.steps += 1

    def peek(self, until: int) -> dict[str, tuple[Any, Any]] | None:
        """The window's sums up to step `until`, which stay in it; None where there are none."""
        pending = [vector for step, vector in self._pending if step <= until]
        if not pending and not self.steps:
            return None
        total = sum((np.asarray(vector, np.float64) for vector in pending), self.total)
        return self._packing.unpack(total)

    def take(self) -> dict[str, tuple[Any, Any]]:
        """The window's sums, and a new window."""
        sums = self._packing.unpack(self.total)
        self.total, self.steps = np.zeros(self._packing.size), 0
        return sums


@dataclasses.dataclass
class Clock:
    """Seconds of training (evaluation and saving left out), over restarts too."""

    seconds: float = 0.0
    _since: float = dataclasses.field(default_factory=time.perf_counter)
    _logged: float = 0.0

    def lap(self) -> float:
        """Adds the time since the last call; returns the seconds since the last logged row."""
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
        return self.seconds - self._logged

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Time spent inside is not counted."""
        self.lap()
        yield
        self._since = time.perf_counter()

    def logged(self) -> None:
        """Starts the count of `lap` again, at a logged row."""
        self._logged = self.seconds
