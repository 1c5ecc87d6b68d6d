"""Checkpoints by the clock: the first process decides, and every process saves the same step."""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

# Several processes exchange the decision about this often, not at every step: it waits for the
# device.
_EXCHANGE_SECONDS = 15.0


class SaveTimer:
    """Says when `minutes` have passed since the last checkpoint; 0: never.

    clock: seconds that only grow; for tests.
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60.0 * minutes
        self._clock = clock
        self._saved_at = clock()
        self._exchange_at = 0  # the step of the next exchange, the same in every process
        self._last: tuple[int, float] | None = None  # step and time of the last one

    def saved(self) -> None:
        """Starts the interval again: a checkpoint was saved, for whatever reason."""
        self._saved_at = self._clock()

    def due(self, step: int) -> bool:
        """Whether to save step `step`. Collective: call it in every process at every step; it
        returns the same value everywhere."""
        if not self._interval:
            return False
        now = self._clock()
        late = now - self._saved_at >= self._interval
        if jax.process_count() == 1:
            return late
        if step < self._exchange_at:
            return False
        decision = np.array([late, self._steps_ahead(step, now)], np.int32)
        agreed, ahead = multihost_utils.broadcast_one_to_all(decision)
        self._exchange_at = step + int(ahead)
        return bool(agreed)

    def _steps_ahead(self, step: int, now: float) -> int:
        """Steps that take about `_EXCHANGE_SECONDS`, at the pace since the last exchange."""
        last, self._last = self._last, (step, now)
        if last is None or step <= last[0]:
            return 1
        pace = max(now - last[1], 1e-9) / (step - last[0])
        # Not many times as many as before: the first steps may be quicker than the others.
        return max(1, min(int(_EXCHANGE_SECONDS / pace), 4 * (step - last[0])))
