"""Task data as a stream of examples, from files and data sets, in constant memory.

Three layers: lines of a file, records (dicts with the place they came from), examples of a task.
Whatever is wrong with the data is found here, once, and named by file and line.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from typing import Any

from electra_jax.errors import UserError

Record = dict[str, Any]

TABLE_FORMATS = ("jsonl", "tsv", "csv")
CONLL_FORMATS = ("conll", "conllu", "bio", "iob", "txt")
LINE_LIMIT = 64 * 2**20
"""Longest line that is read, in bytes; SQuAD-type files hold a whole article in one."""


def format_of(path: str) -> str:
    """The ending that names a file's format, without ".gz"."""
    return path.removesuffix(".gz").rpartition(".")[2].lower()


@contextlib.contextmanager
def open_bytes(path: str):
    """The bytes of a file, unpacked where it ends in .gz; trouble while reading is a UserError."""
    try:
        with open(path, "rb") as raw:
            yield gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is a damaged .gz file ({error}); make it anew") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of a UTF-8 file, .gz or not; a byte order mark is cut.

    Raises:
      UserError: the file cannot be read, or a line is not UTF-8 or longer than LINE_LIMIT.
    """
    with open_bytes(path) as stream:
        number = 0
        while line := stream.readline(LINE_LIMIT + 1):
            number += 1
            if len(line) > LINE_LIMIT:
                raise UserError(
                    f"{path}:{number}: one line is longer than {LINE_LIMIT // 2**20} MiB; "
                    "put each example on a line of its own"
                )
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}:{number} is not UTF-8 text: byte {error.start + 1} of the line is "
                    f"0x{line[error.start]:02x}; convert the file to UTF-8"
                ) from None
            yield number, text.rstrip("\r\n")


def read_records(path: str | os.PathLike[str]) -> Iterator[tuple[str, Record]]:
    """(where, record) of each line of a .jsonl, or each row of a .tsv or .csv with a header.

    Each may end in .gz. `where` is "file:line", lines counted from 1; blank lines are skipped.
    Values of .tsv and .csv are strings; a .tsv has no quoting, a .csv has the usual one.

    Raises:
      UserError: another ending, an unreadable file, not UTF-8, not JSON, a row whose number of
        columns is not the header's; named by file and line.
    """
    path = os.fspath(path)
    kind = format_of(path)
    if kind == "jsonl":
        return _read_jsonl(path)
    if kind in ("tsv", "csv"):
        return _read_table(path, kind)
    raise UserError(
        f"{path}: unknown kind of file; task data is read from "
        f"{', '.join('.' + name for name in TABLE_FORMATS)} (each also as .gz)"
    )


def _read_jsonl(path: str) -> Iterator[tuple[str, Record]]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "nested too deeply")
            column = getattr(error, "colno", 1)
            raise UserError(
                f"{where} is not JSON ({reason}, column {column}); each line must be a JSON object"
            ) from None
        if not isinstance(record, dict):
            raise UserError(f"{where} is not a JSON object: {line.strip()[:60]}")
        yield where, record


def _read_table(path: str, kind: str) -> Iterator[tuple[str, Record]]:
    header: list[str] | None = None
    for number, fields in _rows(path, kind):
        if header is None:
            header = fields
            continue
        where = f"{path}:{number}"
        if len(fields) != len(header):
            raise UserError(
                f"{where} has {len(fields)} columns, the header has {len(header)} "
                f"({', '.join(header)}); a {'tab' if kind == 'tsv' else 'comma'} inside a text "
                "does this"
            )
        yield where, dict(zip(header, fields))


def _rows(path: str, kind: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the row's first line, fields) of the rows that are not blank."""
    if kind == "tsv":
        for number, line in read_lines(path):
            if line.strip():
                yield number, line.split("\t")
        return
    reader = csv.reader((line + "\n" for _, line in read_lines(path)), strict=True)
    first = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield first, fields
            first = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num} is not CSV: {error}") from None
