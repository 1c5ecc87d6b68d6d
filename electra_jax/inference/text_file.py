"""The input of `score`: texts or n-best lists, one a line, and the lines that are neither."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from electra_jax.errors import UserError
from electra_jax.finetuning.data.records import BadRecord, format_of, read_lines, read_records
from electra_jax.inference.input_file import STANDARD_INPUT

HYPOTHESES, REFERENCE, TEXT, SCORE = "hypotheses", "reference", "text", "score"


class Item(NamedTuple):
    """One line: `texts` and, of an n-best list, their own `scores`; or the `error` in it."""

    texts: tuple[str, ...]
    scores: tuple[float, ...] | None = None
    reference: str | None = None
    error: UserError | None = None


def read_items(path: str | os.PathLike[str], lenient: bool = False) -> Iterator[Item]:
    """The lines of a .txt (a text each), or records of a .jsonl, .tsv or .csv with a `text`, in
    .jsonl also with `hypotheses` ([{"text", "score"}, …]) and, where it is known, the `reference`.

    "-" is standard input, as JSON lines. With `lenient` a wrong line is an `Item` with its error.
    Raises `UserError` (file:line) on a wrong line, and of a file whose every line is wrong.
    """
    path = STANDARD_INPUT if os.fspath(path) == "-" else os.fspath(path)
    first, count, bad = None, 0, 0
    for where, record in _records(path, lenient):
        count += 1
        try:
            if isinstance(record, BadRecord):
                raise record.error
            item = item_of(record, where)
        except UserError as error:
            if not lenient:
                raise
            item, bad, first = Item((), error=error), bad + 1, first or error
        yield item
    if bad == count:
        raise first or UserError(f"{path}: there are no texts in it")


def _records(path: str, lenient: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if format_of(path) == "txt":
        return ((f"{path}:{number}", {TEXT: line}) for number, line in read_lines(path))
    return iter(read_records(path, lenient=lenient))


def item_of(record: Any, where: str) -> Item:
    """A line's item from a text, or from the record that it is."""
    if isinstance(record, str):
        record = {TEXT: record}
    if not isinstance(record, Mapping):
        raise UserError(f"{where} is neither a text nor a mapping with one: {record!r}")
    if HYPOTHESES not in record:
        return Item((_text(record, where, f"text, nor {HYPOTHESES}"),))
    found = record[HYPOTHESES]
    if not isinstance(found, list | tuple) or not found:
        raise UserError(f"{where}: {HYPOTHESES} is no list of {{text, score}}: {found!r}")
    texts, scores = [], []
    for number, hypothesis in enumerate(found):
        place = f"{where}: hypothesis {number + 1}"
        if not isinstance(hypothesis, Mapping):
            raise UserError(f"{place} is no mapping with text and score: {hypothesis!r}")
        texts.append(_text(hypothesis, place, TEXT))
        score = hypothesis.get(SCORE)
        if (
            not isinstance(score, int | float)
            or isinstance(score, bool)
            or not math.isfinite(score)
        ):
            raise UserError(f"{place}: score is no finite number: {score!r}")
        scores.append(float(score))
    reference = record.get(REFERENCE)
    if reference is not None and (not isinstance(reference, str) or not reference.strip()):
        raise UserError(f"{where}: {REFERENCE} is no text: {reference!r}")
    return Item(tuple(texts), tuple(scores), reference)


def _text(record: Mapping[str, Any], where: str, needed: str) -> str:
    text = record.get(TEXT)
    if TEXT not in record:
        raise UserError(
            f"{where} has no {needed}; it has {', '.join(map(str, record)) or 'nothing'}"
        )
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: text is empty or no string: {text!r}")
    return text
