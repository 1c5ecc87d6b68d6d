"""Records of task data (dicts, each with its file and line) from files and tfds data sets.

They are streamed in constant memory. Errors of a file's format are raised here.
"""

from __future__ import annotations

import csv
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.text.datasets import TFDS_PREFIX, open_dataset
from electra_jax.text.lines import json_value, numbered_lines, open_bytes
from electra_jax.text.unicode import well_formed

Record = dict[str, Any]


class BadRecord(Record):
    """A line that is no record, in its place (lenient reading): empty, with what is wrong."""

    def __init__(self, error: UserError) -> None:
        super().__init__()
        self.error = error


TABLES = ("tsv", "csv")
TABLE_FORMATS = ("jsonl", *TABLES)
CONLL_FORMATS = ("conll", "conllu", "bio", "iob", "txt")
LINE_LIMIT = 64 * 2**20
"""Longest line that is read, in bytes; SQuAD-type files hold a whole article in one."""


def format_of(path: str) -> str:
    """The file name's ending in lower case, without ".gz"; that of a stream is jsonl."""
    if is_stream(path):
        return "jsonl"
    return path.removesuffix(".gz").rpartition(".")[2].lower()


def is_stream(path: str) -> bool:
    """Whether a path without an ending is standard input or a pipe, which is read as JSON lines."""
    if path == "/dev/stdin" or path.startswith("/dev/fd/"):
        return True
    try:
        return "." not in os.path.basename(path) and stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


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
    of one column is an empty text. Values of .tsv and .csv are strings; a .tsv has no quoting, a
    .csv has the usual one. Labels of a tfds data set become their names, and None where it hides
    them (-1).

    Args:
      headerless: names of the columns of a .tsv whose first row names none of them.
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
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder; name a file in it")
    if not os.path.exists(path):
        raise UserError(f"{path} does not exist")
    raise UserError(
        f"{path}: unknown kind of file; task data is read from "
        f"{', '.join('.' + name for name in TABLE_FORMATS)} (each also as .gz) and from "
        "tfds:NAME/CONFIG:SPLIT; tagged words also from CoNLL columns "
        f"({', '.join('.' + name for name in CONLL_FORMATS)})"
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
    for number, fields in _rows(path, kind):
        if not any(field.strip() for field in fields):
            if header is not None and (fields or len(header) == 1):
                blank.append(number)
            continue
        for earlier in blank:  # not the end of the file: answers must stay aligned with its lines
            yield f"{path}:{earlier}", dict.fromkeys(header or (), "")
        blank.clear()
        if header is None:
            without = len(fields) == len(headerless) and not set(fields) & set(headerless)
            header = list(headerless) if without else fields
            if not without:
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


def _rows(path: str, kind: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the row's first line, fields) of every row; a blank line has no fields."""
    if kind == "tsv":
        for number, line in read_lines(path):
            yield number, line.split("\t") if line else []
        return
    csv.field_size_limit(LINE_LIMIT)
    reader = csv.reader((line + "\n" for _, line in read_lines(path)), strict=True)
    first = 1
    try:
        for fields in reader:
            yield first, fields
            first = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num} is not CSV: {error}") from None


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


def read_conll(
    path: str, columns: Mapping[str, str], labelled: bool
) -> Iterator[tuple[str, Record]]:
    """(where, {"words", "tags"}) of each sentence: a word a line, a blank line between sentences.

    Columns are separated by tabs, or else by spaces (other white space belongs to words, as the
    full-width space of Chinese), and are numbered from 0, or from -1 for the last one backwards.
    -DOCSTART- lines are skipped; in .conllu, so are comments, word ranges and empty words. Without
    labels, lines of different numbers of columns are taken for running text and refused.
    """
    universal = format_of(path) == "conllu"
    word_column = _column_number(columns.get("words", "1" if universal else "0"), "words")
    tag_column = _column_number(columns.get("tags", "3" if universal else "-1"), "tags")
    words: list[str] = []
    tags: list[str] = []
    first = lines = columns_before = 0

    def sentence() -> tuple[str, Record]:
        return f"{path}:{first}", {"words": words, "tags": tags} if labelled else {"words": words}

    for number, line in read_lines(path):
        if not line.strip(" \t"):
            if words:
                yield sentence()
                words, tags = [], []
            continue
        fields = line.split("\t") if "\t" in line else [f for f in line.split(" ") if f]
        if fields[0] == "-DOCSTART-" or (
            universal and (line.startswith("#") or not fields[0].isdigit())
        ):
            continue
        first = first if words else number
        lines += 1
        if not labelled and columns_before not in (0, len(fields)):
            raise _running_text(f"{path}:{number}")
        columns_before = len(fields)
        needed = [word_column, tag_column] if labelled else [word_column]
        if len(fields) < max(2 * labelled, *(c + 1 if c >= 0 else -c for c in needed)):
            raise UserError(
                f"{path}:{number} has {len(fields)} columns ({line[:60]!r}); words are read from "
                f"column {word_column}"
                + (f" and tags from column {tag_column}" if labelled else "")
                + "; name other ones with data.columns.words and data.columns.tags"
            )
        words.append(fields[word_column])
        if labelled:
            tags.append(fields[tag_column].strip())
            if not tags[-1]:
                raise UserError(
                    f"{path}:{number}: the tag in column {tag_column} is empty ({line[:60]!r}); "
                    "fill it, or name another column with data.columns.tags"
                )
    if not labelled and lines == 1 and columns_before > 2:
        raise _running_text(path)
    if words:
        yield sentence()


def _running_text(where: str) -> UserError:
    return UserError(
        f"{where}: words to tag are read from columns, a word a line, the same number on each; "
        'running text goes into a .jsonl: {"text": "…"}'
    )


def _column_number(value: str, role: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UserError(
            f"data.columns.{role}={value}: columns of a CoNLL file are named by number, from 0 (or "
            "-1 for the last one backwards)"
        ) from None


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
