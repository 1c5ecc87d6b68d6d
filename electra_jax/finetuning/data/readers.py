"""Task data as a stream of examples, from files and data sets, in constant memory.

The task's kind turns records (`records`) into examples. Errors in the data are raised here, once,
and name file and line.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping

from electra_jax.finetuning.data.examples import Example
from electra_jax.finetuning.data.label_report import LabelReport, checked
from electra_jax.finetuning.data.records import (
    CONLL_FORMATS,
    NUMBERED,
    TFDS_PREFIX,
    format_of,
    read_records,
    same_content,
)
from electra_jax.finetuning.data.sources import IDS, Source
from electra_jax.finetuning.data.word_rows import has_word_rows
from electra_jax.finetuning.kinds.base import Kind
from electra_jax.finetuning.kinds.table import kind_of
from electra_jax.finetuning.task import Task

__all__ = [
    "TFDS_PREFIX",
    "columns_of",
    "columns_read",
    "has_header",
    "read_examples",
    "read_records",
    "same_content",
    "without_header",
]


def read_examples(
    task: Task,
    path: str | os.PathLike[str],
    columns: Mapping[str, str | None] | None = None,
    labelled: bool = True,
    labels: Collection[str] | None = None,
    usual: Mapping[str, str] | None = None,
    missing: str = "skip",
    report: LabelReport | None = None,
    lenient: bool = False,
) -> Iterator[Example]:
    """The examples of a file or a tfds data set, one after the other, in order.

    Their `id` is the record's own (column "id"), else its 0-based number.

    Args:
      task: its kind decides what is read; its roles and texts name the columns.
      columns: `data.columns.*`: the columns of roles that are not to be guessed: text, text_pair,
        label, id; words, tags; context, question, choices (several columns: "a,b,c"); head, tail.
      labelled: False for data to predict: labels are neither needed nor read.
      labels: the labels of training, for evaluation data: others are logged and count as missed.
        None: those of the table, where the task has them there; others are an error.
      usual: the columns that the model was trained on, by role; preferred where a file has them.
      missing: what becomes of examples whose label says that there is none (-1, "-", nan, …):
        "skip" them with a warning, "fail", "keep" it as a class, or "mark" it as `values.Missing`
        in its place.
      report: counts missing and unseen labels; None: they are logged at the end.
      lenient: a line or row that is wrong becomes a `BadExample` in its place.

    Raises:
      UserError: an error in the data.
    """
    chosen = {role: name for role, name in (columns or {}).items() if name is not None}
    kind, file = kind_of(task), os.fspath(path)
    more = {"lenient": True} if lenient else {}
    examples = kind.read(task, file, chosen, labelled, None, usual, **more)
    if not labelled or missing == "mark":
        return examples
    strict = labels is None
    labels = task.labels if strict else labels
    if report is not None:
        return checked(examples, kind.labels_of, report, labels, strict, missing)
    return _reported(examples, kind, LabelReport(file), labels, strict, missing)


def _reported(
    examples: Iterator[Example],
    kind: Kind,
    report: LabelReport,
    labels: Collection[str] | None,
    strict: bool,
    missing: str,
) -> Iterator[Example]:
    yield from checked(examples, kind.labels_of, report, labels, strict, missing)
    report.warn()


def without_header(task: Task) -> Task:
    """The task where tables have no line that names columns (`data.header=no`)."""
    return dataclasses.replace(task, headerless=NUMBERED)


def has_header(task: Task) -> bool:
    """False of a task `without_header`."""
    return task.headerless != NUMBERED


def columns_read(task: Task, path: str, columns: Mapping[str, str | None]) -> dict[str, str]:
    """The column of each role, as `read_examples` finds them; {} where files have no columns."""
    return columns_of(task, path, columns)[0]


def columns_of(
    task: Task, path: str, columns: Mapping[str, str | None]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """`columns_read`, and the columns of the first record that nothing is read from."""
    path = os.fspath(path)
    kind = kind_of(task)
    if not kind.has_columns or format_of(path) in CONLL_FORMATS:
        return {}, ()
    if "words" in kind.roles and has_word_rows(path):
        return {}, ()
    chosen = {role: name for role, name in columns.items() if name is not None}
    where, record = next(iter(read_records(path, task.headerless)))
    source = Source(task, chosen, record, where, labelled=True)
    texts = dict(zip(("text", "text_pair"), source.texts, strict=False))
    found = texts | {r: c for r, c in source.columns.items() if r not in ("id", *texts)}
    read = {name.strip() for c in found.values() for name in (c, *c.split(","))}
    ids = (source.columns.get("id", ""), *IDS)
    return found, tuple(name for name in record if name not in read and name not in ids)
