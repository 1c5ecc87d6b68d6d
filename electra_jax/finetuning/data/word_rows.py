"""Sentences from tables with a word a row (`token<TAB>tag`), as BioBERT's .tsv files are: a blank
row between sentences, with or without a header."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from electra_jax.errors import UserError
from electra_jax.finetuning.data.conll import sentence
from electra_jax.finetuning.data.notes import note
from electra_jax.finetuning.data.records import TABLES, Record, format_of, table_rows

_PEEK = 500  # rows by which such a table is told from one with a sentence a row
_SPACES = 0.1  # share of cells with a space inside, above which they are sentences
WORDS = ("token", "tokens", "word", "words", "form")
TAGS = ("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "slot", "slots", "pos")


class _Layout(NamedTuple):
    """What rows have: cells each, and the names of a header (() where there is none)."""

    width: int
    header: tuple[str, ...]


def has_word_rows(path: str, labelled: bool = True) -> bool:
    """Whether a file is a table with a word a row and blank rows between sentences."""
    return _layout(path, labelled, False) is not None


def read_word_rows(
    path: str, columns: Mapping[str, str], labelled: bool, header: bool = True
) -> Iterator[tuple[str, Record]] | None:
    """(where, {"words", "tags"}) of each sentence of such a table; None where it is another.

    Args:
      columns: of `words` and `tags`, by name or by number from 0 (-1: the last); by default those
        of the usual names, else the first and the last.
      header: False where the first row is data whatever it holds.

    Raises:
      UserError: a column that is not there, a row of another width, an empty tag.
    """
    layout = _layout(path, labelled, not header)
    return None if layout is None else _sentences(path, layout, columns, labelled)


def _layout(path: str, labelled: bool, numbered: bool) -> _Layout | None:
    if format_of(path) not in TABLES or not os.path.isfile(path):
        return None
    rows = [cells for _, cells in itertools.islice(table_rows(path), _PEEK)]
    filled = [i for i, cells in enumerate(rows) if _is_filled(cells)]
    if not filled or filled[-1] - filled[0] + 1 == len(filled):
        return None  # no blank row between others
    found = [rows[i] for i in filled]
    width = len(found[0])
    if any(len(cells) != width for cells in found) or width < 1 + labelled:
        return None
    edges = [cell.strip() for cells in found for cell in (cells[0], cells[-1])]
    if sum(" " in cell for cell in edges) > _SPACES * len(edges):
        return None
    first = [cell.strip() for cell in found[0]]
    tags = {cells[-1].strip() for cells in found[1:]}
    names = any(cell.lower() in WORDS for cell in first) and first[-1] not in tags
    return _Layout(width, () if numbered or not names else tuple(first))


def _is_filled(cells: Sequence[str]) -> bool:
    return any(cell.strip() for cell in cells)


def _sentences(
    path: str, layout: _Layout, columns: Mapping[str, str], labelled: bool
) -> Iterator[tuple[str, Record]]:
    words_at = _column(path, layout, columns.get("words"), "words", WORDS, 0)
    tags_at = _column(path, layout, columns.get("tags"), "tags", TAGS, -1) if labelled else 0
    kinds = {"words": words_at, **({"tags": tags_at} if labelled else {})}
    shown = (f"{role} from {_name(layout, number)}" for role, number in kinds.items())
    note(f"{path}: a word a row, a blank row between sentences; {', '.join(shown)}")
    words: list[str] = []
    tags: list[str] = []
    first = 0
    header = bool(layout.header)
    for number, cells in table_rows(path):
        where = f"{path}:{number}"
        if not _is_filled(cells):
            if words:
                yield f"{path}:{first}", sentence(words, tags, labelled)
            words, tags = [], []
            continue
        if header:
            header = False
            continue
        if len(cells) != layout.width:
            raise UserError(
                f"{where} has {len(cells)} columns, and rows before it {layout.width}; a word "
                "stands in a row of its own, with the same columns in each"
            )
        if cells[words_at].strip() == "-DOCSTART-":
            continue
        first = first if words else number
        words.append(cells[words_at])
        if labelled:
            tags.append(cells[tags_at].strip())
            if not tags[-1]:
                raise UserError(
                    f"{where}: the tag in {_name(layout, tags_at)} is empty; fill it, or name "
                    "another column with data.columns.tags"
                )
    if words:
        yield f"{path}:{first}", sentence(words, tags, labelled)


def _column(
    path: str, layout: _Layout, given: str | None, role: str, names: Sequence[str], usual: int
) -> int:
    """The number of a role's column, from 0."""
    header = [name.lower() for name in layout.header]
    if given is None:
        known = (header.index(name) for name in names if name in header)
        return next(known, usual % layout.width)
    if given in layout.header:
        return layout.header.index(given)
    if given.removeprefix("-").isdecimal() and -layout.width <= int(given) < layout.width:
        return int(given) % layout.width
    has = ", ".join(layout.header) or f"no header, and columns 0 to {layout.width - 1}"
    raise UserError(f"{path}: data.columns.{role}={given}: there is no such column; it has {has}")


def _name(layout: _Layout, number: int) -> str:
    return f'"{layout.header[number]}"' if layout.header else f"column {number}"
