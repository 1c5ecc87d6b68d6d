"""The input of `predict` and `evaluate`: a file, standard input, a pipe or a data set, and those of
its lines that could not be read."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import BadExample, Example
from electra_jax.finetuning.data.label_report import LabelReport
from electra_jax.finetuning.data.readers import TFDS_PREFIX, read_examples
from electra_jax.finetuning.export import TrainedTask

log = logging.getLogger(__name__)

ON_ERROR = ("stop", "skip")
STANDARD_INPUT = "/dev/stdin"


class InputFile:
    """Examples of a file for a trained model.

    `path` "-" is standard input; that and pipes without an ending are JSON lines, and are read
    once. With `on_error="skip"` a wrong line is a `BadExample` in its place.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        trained: TrainedTask,
        columns: Mapping[str, str | None] | None,
        labelled: bool,
        on_error: str = "stop",
    ) -> None:
        if on_error not in ON_ERROR:
            raise UserError(f"on_error={on_error!r}: choose one of {', '.join(ON_ERROR)}")
        self.path = STANDARD_INPUT if os.fspath(path) == "-" else os.fspath(path)
        self._trained, self._labelled = trained, labelled
        self._names = {**trained.columns, **(columns or {})}
        self._lenient = on_error == "skip"
        self._bad, self._first, self._passes = 0, "", 0
        _refuse_pattern(self.path)

    @property
    def can_be_read_twice(self) -> bool:
        """True of a file or a data set, False of a pipe."""
        return self.path.startswith(TFDS_PREFIX) or os.path.isfile(self.path)

    def examples(self) -> Iterator[Example]:
        """All examples, from the beginning (of a pipe: what is left), bad ones in their places.

        Raises `UserError` on a wrong line, or, where those are passed over, if no line is right.
        """
        self._bad, self._first, count = 0, "", 0
        # A second pass does not warn of labels again.
        report = LabelReport(self.path) if self._passes else None
        self._passes += 1
        labels = (self._trained.codec.labels or None) if self._labelled else None
        for example in read_examples(
            self._trained.task, self.path, self._names, self._labelled, labels,
            self._trained.training_columns, report=report, lenient=self._lenient,
        ):  # fmt: skip
            if is_bad(example):
                self._bad += 1
                self._first = self._first or str(example.error)  # type: ignore[attr-defined]
            count += 1
            yield example
        if self._bad == count:
            raise UserError(self._first or f"{self.path}: there are no examples in it")

    def warn(self) -> None:
        """Says how many lines of the last reading were passed over, and why the first was."""
        if self._bad:
            lines = "line is" if self._bad == 1 else "lines are"
            log.warning(
                "%s: %s %s wrong and answered by null, the first: %s",
                self.path, f"{self._bad:,}", lines, self._first,
            )  # fmt: skip


def is_bad(example: Any) -> bool:
    """Whether an example stands for a line that could not be read."""
    return isinstance(example, BadExample)


def good(examples: Iterable[Example]) -> Iterator[Example]:
    """The examples that could be read."""
    return (example for example in examples if not is_bad(example))


def _refuse_pattern(path: str) -> None:
    if glob.has_magic(path) and not os.path.exists(path) and not path.startswith(TFDS_PREFIX):
        found = sorted(glob.glob(path))
        matching = f"it matches {len(found)} files" if found else "it matches no file"
        raise UserError(
            f"{path}: one file is read at a time, and {matching}; give several JSON-lines files "
            f"through a pipe: cat {path} | electra-jax VERB … with - as the input"
        )
