"""Task data as a stream of examples, from files and data sets, in constant memory.

Records (`records`) become the examples of a task as its kind reads them. Whatever is wrong with the
data is found here, once, and named by file and line.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping

from electra_jax.finetuning.data.examples import Example
from electra_jax.finetuning.data.records import (
    CONLL_FORMATS,
    TFDS_PREFIX,
    format_of,
    read_records,
    same_content,
)
from electra_jax.finetuning.data.sources import Source
from electra_jax.finetuning.kinds.table import find_kind
from electra_jax.finetuning.task import Task

__all__ = ["TFDS_PREFIX", "columns_read", "read_examples", "read_records", "same_content"]


def read_examples(
    task: Task,
    path: str | os.PathLike[str],
    columns: Mapping[str, str | None] | None = None,
    labelled: bool = True,
    labels: Collection[str] | None = None,
    usual: Mapping[str, str] | None = None,
    lenient: bool = False,
) -> Iterator[Example]:
    """The examples of a file or a tfds data set, one after the other, in order.

    Their `id` is the record's own (column "id"), else its 0-based number.

    Args:
      task: its kind decides what is read, its names where.
      columns: `data.columns.*`: the columns of roles that are not to be guessed: text, text_pair,
        label, id; words, tags; context, question, choices (several columns: "a,b,c"); head, tail.
      labelled: False for data to predict: labels are neither needed nor read.
      labels: the known labels, for evaluation data; the table's where the task has them there.
      usual: the columns that a model was trained from, by role: taken where a file has them.

      lenient: a line or row that is wrong becomes a `BadExample` in its place.

    Raises:
      UserError: whatever is wrong with the data; see the module.
    """
    chosen = {role: name for role, name in (columns or {}).items() if name is not None}
    labels = labels if labels is not None else task.labels
    kind = find_kind(task.kind)
    more = {"lenient": True} if lenient else {}
    return kind.read(task, os.fspath(path), chosen, labelled, labels, usual, **more)


def columns_read(task: Task, path: str, columns: Mapping[str, str | None]) -> dict[str, str]:
    """The column of each role, as `read_examples` finds them; {} where files have no columns."""
    path = os.fspath(path)
    if not find_kind(task.kind).has_columns or format_of(path) in CONLL_FORMATS:
        return {}
    chosen = {role: name for role, name in columns.items() if name is not None}
    where, record = next(iter(read_records(path, task.headerless)))
    source = Source(task, chosen, record, where, labelled=True)
    texts = dict(zip(("text", "text_pair"), source.texts, strict=False))
    return texts | {r: c for r, c in source.columns.items() if r not in ("id", *texts)}
