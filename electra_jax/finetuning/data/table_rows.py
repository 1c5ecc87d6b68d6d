"""Rows of .tsv and .csv files as lists of cells."""

from __future__ import annotations

import contextlib
import csv
from collections import deque
from collections.abc import Iterator

from electra_jax.errors import UserError
from electra_jax.finetuning.data.notes import note

_LONGEST = 1000  # lines of a quoted cell in a .tsv

Lines = Iterator[tuple[int, str]]


def csv_rows(path: str, lines: Lines, limit: int) -> Iterator[tuple[int, list[str]]]:
    """(number of the row's first line, cells) of every row of a .csv; a blank line has no cells.

    Args:
      lines: (number, line without its end).
      limit: longest cell, in characters.

    Raises:
      UserError: it is not CSV.
    """
    csv.field_size_limit(limit)
    reader = csv.reader((line + "\n" for _, line in lines), strict=True)
    first = 1
    try:
        for cells in reader:
            yield first, cells
            first = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num} is not CSV: {error}") from None


def tsv_rows(path: str, lines: Lines) -> Iterator[tuple[int, list[str]]]:
    """The same of a .tsv, which has no quotes (GLUE's) or those of `csv.writer` (pandas').

    A cell is a quoted one where it begins and ends with a quote and each quote within is doubled,
    and there is one: pandas writes no other. A row with too few or too many cells is read with
    quotes where it has the right number then: cells may hold tabs and lines. Where the header's
    cells all are quoted, every row is.
    """
    stream = _Lines(lines)
    width = 0
    always = False
    for number, text in stream:
        cells = text.split("\t") if text else []
        if not width and any(cells):
            width = len(cells)
            always = all(len(c) > 1 and c[0] == c[-1] == '"' for c in cells)
        found = cells
        if '"' in text and (always or len(cells) != width):
            found = _quoted_row(text, stream, width) or cells
        elif '"' in text:
            found = [_unquoted(cell) for cell in cells]
        if found != cells:
            note(f"{path}: cells between quotes are read without them, as pandas writes them")
        yield number, found


class _Lines:
    """Lines that can be given back."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._back: deque[tuple[int, str]] = deque()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return self

    def __next__(self) -> tuple[int, str]:
        return self._back.popleft() if self._back else next(self._lines)

    def give_back(self, lines: list[tuple[int, str]]) -> None:
        self._back.extendleft(reversed(lines))


def _unquoted(cell: str) -> str:
    inner = cell[1:-1]
    if len(cell) < 4 or cell[0] != '"' or cell[-1] != '"' or '""' not in inner:
        return cell
    return cell if '"' in inner.replace('""', "") else inner.replace('""', '"')


def _quoted_row(first: str, stream: _Lines, width: int) -> list[str] | None:
    """The cells of a row with quotes that begins with a line, as far as it is one of `width`; it
    takes the lines that belong to it."""
    taken: list[tuple[int, str]] = []
    quotes = first.count('"')
    while quotes % 2 and len(taken) < _LONGEST and (line := next(stream, None)):
        taken.append(line)
        quotes += line[1].count('"')
    text = "".join(line + "\n" for line in (first, *(text for _, text in taken)))
    with contextlib.suppress(csv.Error):
        rows = list(csv.reader([text], delimiter="\t", strict=True))
        if len(rows) == 1 and len(rows[0]) == width:
            return rows[0]
    stream.give_back(taken)
    return None
