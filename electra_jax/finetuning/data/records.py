"""Records of task data (dicts, each with its file and line) from files and tfds data sets.

They are streamed in constant memory. Errors of a file's format are raised here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.finetuning.data.published import records_by_relation
from electra_jax.finetuning.data.table_rows import csv_rows, tsv_rows
from electra_jax.text.datasets import TFDS_PREFIX, open_dataset
from electra_jax.text.lines import json_value, numbered_lines, open_bytes
from electra_jax.text.standard_input import is_stream
from electra_jax.text.unicode import well_formed

Record = dict[str, Any]


class BadRecord(Record):
    """A line that is no record, in its place (lenient reading): empty, with what is wrong."""

    def __init__(self, error: UserError) -> None:
        super().__init__()
        self.error = error


TABLES = ("tsv", "csv")
TABLE_FORMATS = ("jsonl", *TABLES, "json")
CONLL_FORMATS = ("conll", "conllu", "bio", "iob", "txt")
NUMBERED = ("0", "1", "…")
"""As `headerless`: no file has a header, and columns are named by number from 0."""
LINE_LIMIT = 64 * 2**20
"""Longest line that is read, in bytes; SQuAD-type files hold a whole article in one."""


def format_of(path: str) -> str:
    """The file name's ending in lower case, without ".gz"; jsonl for a stream without one."""
    if "." not in os.path.basename(path) and is_stream(path):
        return "jsonl"
    return path.removesuffix(".gz").rpartition(".")[2].lower()


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of a UTF-8 file, .gz or not; a byte order mark is cut.

    Raises:
      UserError: the file cannot be read, or a line is not UTF-8 or longer than LINE_LIMIT.
    """
    with open_bytes(path) as stream:
        remedy = "put each example on a line of its own"
        for number, _, line in numbered_lines(path, stream, LINE_LIMIT, remedy):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}:{number} is not UTF-8 text: byte {error.start + 1} of the line is "
                    f"0x{line[error.start]:02x}; convert the file to UTF-8"
                ) from None
            yield number, text.rstrip("\r\n")


def read_records(
    path: str | os.PathLike[str], headerless: Sequence[str] = (), lenient: bool = False
) -> Iterator[tuple[str, Record]]:
    """(where, record) of each line of a .jsonl, each row of a .tsv or .csv with a header, or each
    example of `tfds:NAME[/CONFIG][:SPLIT]`.

    Files may end in .gz. `where` is "file:line", lines counted from 1. Blank lines are skipped in
    .jsonl; in a table at its end and, if it has several columns, anywhere: a blank line among those
    of one column is an empty text. Values of .tsv and .csv are strings; a .csv has the usual
    quoting, a .tsv none or that of pandas (`table_rows`). Labels of a tfds data set become their
    names, and None where it hides them (-1).

    Args:
      headerless: names of the columns of a .tsv whose first row names none of them; NUMBERED: of
        any table, whose first row is data.
      lenient: a line of a .jsonl that is not a JSON object and a row whose number of columns is not
        the header's become a `BadRecord`.

    Raises:
      UserError: another ending, an unreadable file, not UTF-8, not JSON, a row whose number of
        columns is not the header's; named by file and line.
    """
    path = os.fspath(path)
    if path.startswith(TFDS_PREFIX):
        return _read_dataset(path)
    kind = format_of(path)
    if kind == "jsonl":
        return _read_jsonl(path, lenient)
    if kind in ("tsv", "csv"):
        return _read_table(path, kind, headerless, lenient)
    if kind == "json":
        return _read_json(path)
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder; name a file in it")
    if not os.path.exists(path):
        raise UserError(f"{path} does not exist")
    raise UserError(
        f"{path}: unknown kind of file; task data is read from "
        f"{', '.join('.' + name for name in TABLE_FORMATS)} (each also as .gz) and from "
        "tfds:NAME/CONFIG:SPLIT; tagged words also from CoNLL columns "
        f"({', '.join('.' + name for name in CONLL_FORMATS)}). Write anything else as a .jsonl, "
        'one example a line: {"text": "…", "label": "…"}'
    )


def _read_jsonl(path: str, lenient: bool) -> Iterator[tuple[str, Record]]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = json_value(line, where)
            if not isinstance(record, dict):
                raise UserError(f"{where} is not a JSON object: {line.strip()[:60]}")
        except UserError as error:
            if not lenient:
                raise
            record = BadRecord(error)
        yield where, well_formed_json(record) if "\\u" in line and record else record


def _read_json(path: str) -> Iterator[tuple[str, Record]]:
    """The records of a .json that is one list, or lists by relation; it is read whole."""
    with open_bytes(path) as stream:
        content = stream.read()
    try:
        whole = well_formed_json(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not one JSON value ({error}); a file with one JSON object a line must be "
            "named .jsonl"
        ) from None
    if isinstance(whole, dict):
        yield from records_by_relation(whole, path)
        return
    for i, record in enumerate(whole if isinstance(whole, list) else [whole]):
        if not isinstance(record, dict):
            raise UserError(f"{path}: [{i}] is not a JSON object: {json.dumps(record)[:60]}")
        yield f"{path}: [{i}]", record


def well_formed_json(value: Any) -> Any:
    """A JSON value whose strings hold no lone surrogate."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, list):
        return [well_formed_json(item) for item in value]
    if isinstance(value, dict):
        return {well_formed(key): well_formed_json(item) for key, item in value.items()}
    return value


def _read_table(
    path: str, kind: str, headerless: Sequence[str], lenient: bool
) -> Iterator[tuple[str, Record]]:
    header: list[str] | None = None
    blank: list[int] = []  # blank rows since the last row with text
    for number, fields in table_rows(path):
        if not any(field.strip() for field in fields):
            if header is not None and (fields or len(header) == 1):
                blank.append(number)
            continue
        for earlier in blank:  # not the end of the file: answers must stay aligned with its lines
            yield f"{path}:{earlier}", dict.fromkeys(header or (), "")
        blank.clear()
        if header is None:
            header, is_data = _header(f"{path}:{number}", fields, headerless)
            if not is_data:
                continue
        where = f"{path}:{number}"
        if len(fields) != len(header):
            error = UserError(
                f"{where} has {len(fields)} columns, the header has {len(header)} "
                f"({', '.join(header)}); a {'tab' if kind == 'tsv' else 'comma'} inside a text "
                "does this"
            )
            if not lenient:
                raise error
            yield where, BadRecord(error)
            continue
        yield where, dict(zip(header, fields))


def _header(where: str, fields: list[str], headerless: Sequence[str]) -> tuple[list[str], bool]:
    """The names of the columns, and whether the first row, which has `fields`, is data."""
    if tuple(headerless) == NUMBERED:
        return [str(i) for i in range(len(fields))], True
    if len(fields) == len(headerless) and not set(fields) & set(headerless):
        return list(headerless), True
    twice = [name for name, count in Counter(fields).items() if name and count > 1]
    if twice:
        raise UserError(
            f'{where}: the header names the column "{twice[0]}" twice; rename one (a file without '
            "a header line is read with data.header=no and columns by number)"
        )
    return fields, False


def table_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the row's first line, fields) of every row of a .tsv or .csv; a blank line has no
    fields."""
    lines = read_lines(path)
    if format_of(path) == "tsv":
        return tsv_rows(path, lines)
    return csv_rows(path, lines, LINE_LIMIT)


def _read_dataset(name: str) -> Iterator[tuple[str, Record]]:
    features, examples = open_dataset(name)
    for number, example in enumerate(examples, start=1):
        yield f"{name}:{number}", _plain(example, features)


def _plain(value: Any, feature: Any) -> Any:
    """A tfds value as JSON would hold it; `feature` describes it (a class label has `int2str`, a
    sequence `feature`, a dict of features their names)."""
    if isinstance(value, Mapping):
        inner = getattr(feature, "feature", feature)
        return {key: _plain(value[key], inner[key]) for key in value}
    if isinstance(value, np.ndarray) and value.ndim:
        inner = getattr(feature, "feature", feature)
        return [_plain(item, inner) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(feature, "int2str"):
        return feature.int2str(int(value)) if value >= 0 else None
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def same_content(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> bool:
    """Whether two inputs are the same: byte for byte once unpacked, or the same tfds split."""
    a, b = os.fspath(first), os.fspath(second)
    if a == b or a.startswith(TFDS_PREFIX) or b.startswith(TFDS_PREFIX):
        return a == b
    return _digest(a) == _digest(b)


def _digest(path: str) -> bytes:
    digest = hashlib.sha256()
    with open_bytes(path) as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.digest()
