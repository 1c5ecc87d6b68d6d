"""Stopping a run by SIGTERM or Ctrl-C (SIGINT): every process saves the same step first."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

# Exit codes, as shells give them to a process that a signal ends.
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class StopSignals:
    """Notices SIGTERM and Ctrl-C to any process of the run. Use it as a context manager.

    Handlers are installed in the main thread alone, and the previous ones restored at the end; a
    signal that was ignored before (SIGINT under nohup) stays ignored. Of several processes JAX's
    own handler of SIGTERM makes all agree on a step, and Ctrl-C is passed on to it.

    After the first Ctrl-C a second one leaves at once, without saving: it ends a program by the
    signal, and is a KeyboardInterrupt in an interactive session.
    """

    def __init__(self) -> None:
        self._interrupted = self._terminated = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        handlers = {signal.SIGINT: self._interrupt, signal.SIGTERM: self._terminate}
        if jax.process_count() > 1:
            del handlers[signal.SIGTERM]
        for number, handler in handlers.items():
            if signal.getsignal(number) != signal.SIG_IGN:
                with contextlib.suppress(ValueError):  # not in the main thread
                    self._previous[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            if handler is not None:  # None: not installed by Python, so it cannot be restored
                signal.signal(number, handler)

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True
        previous = self._previous[signal.SIGINT]
        program = previous is signal.default_int_handler and not hasattr(sys, "ps1")
        # A Python handler would wait until a compilation or a step returns to Python.
        signal.signal(signal.SIGINT, signal.SIG_DFL if program else previous)
        with contextlib.suppress(RuntimeError):  # the signal came in the middle of a print
            print(
                "\nCtrl-C: stops after this step and saves it; once more leaves at once",
                file=sys.stderr,
            )
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def requested(self, step: int) -> bool:
        """Whether to save step `step` and stop. Collective: call it in every process at every step;
        it returns the same value everywhere."""
        if jax.process_count() > 1 and not self._terminated:
            self._terminated = multihost_utils.reached_preemption_sync_point(step)
            return self._terminated
        return self._interrupted or self._terminated

    def reason(self) -> tuple[str, int]:
        """("Ctrl-C" or "SIGTERM", exit code) of a stop that was requested; Ctrl-C where it came to
        any process. Collective: call it in every process."""
        interrupted = self._interrupted
        if jax.process_count() > 1:
            interrupted = bool(np.any(multihost_utils.process_allgather(np.bool_(interrupted))))
        return ("Ctrl-C", INTERRUPTED) if interrupted else ("SIGTERM", TERMINATED)
