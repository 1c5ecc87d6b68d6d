"""The progress bar of `predict` and `evaluate`: examples answered, on a clock that stands still
while XLA compiles, so that its estimate is that of the work alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from electra_jax.messages import message_stream


class AnswerProgress:
    """A tqdm bar of `total` examples (None: unknown) that says when a program is compiled.

    Blocks of examples become features (one or several an example), features become batches:
    `block` announces the former, `batch` wraps the computation of the latter.
    """

    def __init__(self, verb: str, total: int | None, quiet: bool, **options: Any) -> None:
        # Smoothing would let the time between two updates count, that of compiling too.
        self._bar = tqdm(
            total=total, desc=verb, unit=" examples", disable=quiet, smoothing=0,
            **{"file": message_stream(), **options},
        )  # fmt: skip
        self._verb = verb
        self._begun = self._examples = self._features = self._done = 0

    def block(self, examples: int, features: int) -> None:
        """The next batches are of a block of so many examples and features."""
        self._begun += self._examples
        self._examples, self._features, self._done = examples, features, 0
        if not features:
            self._show(examples)

    @contextmanager
    def batch(self, features: int, compiles: bool) -> Iterator[None]:
        """Around the call of a compiled program for so many features."""
        bar = self._bar
        if bar.disable:
            yield
            return
        began = time.time()
        if compiles:
            bar.set_description(f"{self._verb}: compiling")
        yield
        if compiles:
            bar.start_t += time.time() - began
            bar.set_description(self._verb, refresh=False)
        self._done += features
        self._show(self._examples * self._done // self._features)

    def close(self) -> None:
        """Shows the last state."""
        self._bar.close()

    def _show(self, examples: int) -> None:
        self._bar.update(self._begun + examples - self._bar.n)
