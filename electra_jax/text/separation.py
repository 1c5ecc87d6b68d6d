"""How the documents of .txt files are told apart, by looking at parts of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from electra_jax.errors import UserError
from electra_jax.text.documents import BLANK_LINES, FILES, LINES, is_blank
from electra_jax.text.lines import open_bytes

log = logging.getLogger(__name__)

AUTO = "auto"
SEPARATIONS = (AUTO, BLANK_LINES, LINES, FILES)

_PART_BYTES = 2**20
_PARTS = 8  # spread over the files, of a .gz at its beginning
_LOOK_FILES = 50
_MANY_FILES, _SMALL_FILE_LINES = 8, 200
"""So many files of fewer lines each are a document each."""
_STRAY, _LONG_LINE = 100, 500
"""Blank lines are strays among lines that are documents where there are fewer than one in so many
lines, whose median is longer than this (bytes): paragraphs of books are shorter."""
_PAGE_WIDTH = 250
"""Lines whose median is longer than this (bytes) are not those of a wrapped text."""
_SENTENCE_ENDS = tuple(
    mark.encode() for mark in (*".!?:;\"')]}…。！？」』）”’»।؟۔", "...")
)  # fmt: skip


@dataclass
class Look:
    """What some parts of .txt files hold."""

    files: int = 0
    bytes: int = 0
    gaps: int = 0  # runs of blank lines between lines
    lengths: list[int] = field(default_factory=list)  # of lines, in bytes
    lines_of_files: list[int] = field(default_factory=list)
    finished: int = 0  # lines that end as sentences do

    @property
    def has_strays(self) -> bool:
        """Whether the blank lines are too few among long lines to separate documents."""
        return self.gaps * _STRAY < len(self.lengths) and median(self.lengths) > _LONG_LINE

    @property
    def wrapped(self) -> bool:
        """Whether lines end where a page does: most are nearly as long as the longest, and few end
        as a sentence does."""
        middle, longest = median(self.lengths), quantiles(self.lengths, n=20)[-1]
        return (
            middle <= _PAGE_WIDTH
            and middle > 0.75 * longest
            and self.finished < 0.5 * len(self.lengths)
        )


def check_separation(separation: str) -> None:
    """Raises UserError for a value that is not one of SEPARATIONS."""
    if separation not in SEPARATIONS:
        raise UserError(f"documents is {separation!r}; choose one of {', '.join(SEPARATIONS)}")


def find_separation(files: Sequence[str]) -> str:
    """BLANK_LINES, LINES or FILES for the .txt files of a corpus; logs what was found where it is
    not the first.

    Blank lines separate documents where there are any, unless they are strays among long lines.
    Otherwise many short files are a document each; else each line is one, but for wrapped text, of
    which each file is one.
    """
    look = _look(files)
    count = len(look.lengths)
    if count < 2 or (look.gaps and not look.has_strays):
        return BLANK_LINES
    found = (
        f"{count:,} lines of {median(look.lengths):,.0f} bytes (median), {look.gaps or 'no'} blank "
        f"{'line' if look.gaps == 1 else 'lines'} between them, in {look.bytes / 1e6:.1f} MB that "
        "were looked at"
    )
    short = look.files >= _MANY_FILES and median(look.lines_of_files) < _SMALL_FILE_LINES
    if short:
        _note(f"each .txt file is one document: {look.files:,} files, {found}")
        return FILES
    if not look.wrapped:
        _note(f"each line of a .txt file is one document: {found}")
        return LINES
    _note(f"each .txt file is one document: a wrapped text, {found}")
    return FILES


def _note(found: str) -> None:
    log.warning("note: %s; if that is wrong: --documents=%s", found, "|".join(SEPARATIONS[1:]))


def _look(files: Sequence[str]) -> Look:
    look = Look(files=len(files))
    step = max(1, len(files) // _LOOK_FILES)
    chosen = files[::step][:_LOOK_FILES]
    for path in chosen:
        before = len(look.lengths)
        for lines in _parts(path, max(1, _PARTS // len(chosen))):
            _add(look, lines)
        look.lines_of_files.append(len(look.lengths) - before)
    return look


def _parts(path: str, count: int) -> Iterator[list[bytes]]:
    """Whole lines of up to `count` parts of a file, each of `_PART_BYTES`."""
    with open_bytes(path) as stream:
        if path.endswith(".gz"):
            yield _whole_lines(stream.read(count * _PART_BYTES), False, count * _PART_BYTES)
            return
        size = os.path.getsize(path)
        if size <= count * _PART_BYTES:
            yield stream.read().split(b"\n")
            return
        for part in range(count):
            start = part * (size - _PART_BYTES) // max(count - 1, 1)
            stream.seek(start)
            yield _whole_lines(stream.read(_PART_BYTES), start > 0, _PART_BYTES)


def _whole_lines(data: bytes, inside: bool, size: int) -> list[bytes]:
    """Lines of a part of a file, without one that began before it and one that may go on."""
    lines = data.split(b"\n")
    return lines[inside : -1 if len(data) == size and len(lines) > 1 + inside else None]


def _add(look: Look, lines: Sequence[bytes]) -> None:
    first, gap = len(look.lengths), False
    for line in lines:
        look.bytes += len(line) + 1
        if is_blank(line):
            gap = len(look.lengths) > first
            continue
        look.gaps += gap
        gap = False
        text = line.strip()
        look.lengths.append(len(text))
        look.finished += text.endswith(_SENTENCE_ENDS)
