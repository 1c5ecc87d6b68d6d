"""How the documents of .txt files are told apart, by looking at the beginnings of the files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from electra_jax.errors import UserError
from electra_jax.text.documents import BLANK_LINES, FILES, LINES, is_blank
from electra_jax.text.lines import open_bytes

log = logging.getLogger(__name__)

AUTO = "auto"
SEPARATIONS = (AUTO, BLANK_LINES, LINES, FILES)

_LOOK_BYTES = 2**20  # of a file
_LOOK_FILES = 50
_MANY_FILES, _SMALL_FILE_LINES = 8, 200
"""So many files of fewer lines each are a document each."""
_LINES_A_GAP = 100
"""Fewer blank lines than one in so many lines do not separate documents."""
_PAGE_WIDTH = 250
"""Lines whose median is longer than this (bytes) are not those of a wrapped text."""
_SENTENCE_ENDS = tuple(
    mark.encode() for mark in (*".!?:;\"')]}…。！？」』）”’»।؟۔", "...")
)  # fmt: skip


@dataclass
class Look:
    """What the beginnings of .txt files hold."""

    files: int = 0
    bytes: int = 0
    gaps: int = 0  # runs of blank lines between lines
    lengths: list[int] = field(default_factory=list)  # of lines, in bytes
    lines_of_files: list[int] = field(default_factory=list)
    finished: int = 0  # lines that end as sentences do

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

    Blank lines separate documents where there are any, unless they are very rare. Otherwise many
    short files are a document each; else each line is one, but for wrapped text, of which each
    file is one.
    """
    look = _look(files)
    count = len(look.lengths)
    if count < 2 or look.gaps * _LINES_A_GAP >= count:
        return BLANK_LINES
    found = (
        f"{count:,} lines of {median(look.lengths):,.0f} bytes (median), {look.gaps or 'no'} blank "
        f"{'line' if look.gaps == 1 else 'lines'} between them, in the first "
        f"{look.bytes / 1e6:.1f} MB"
    )
    short = look.files >= _MANY_FILES and median(look.lines_of_files) < _SMALL_FILE_LINES
    if short and not look.gaps:
        _note(f"each .txt file is one document: {look.files:,} files, {found}")
        return FILES
    if not look.wrapped:
        _note(f"each line of a .txt file is one document: {found}")
        return LINES
    if look.gaps:
        return BLANK_LINES
    _note(f"each .txt file is one document: a wrapped text, {found}")
    return FILES


def _note(found: str) -> None:
    log.warning("note: %s; if that is wrong: --documents=%s", found, "|".join(SEPARATIONS[1:]))


def _look(files: Sequence[str]) -> Look:
    look = Look(files=len(files))
    step = max(1, len(files) // _LOOK_FILES)
    for path in files[::step][:_LOOK_FILES]:
        before, gap = len(look.lengths), False
        with open_bytes(path) as stream:
            data = stream.read(_LOOK_BYTES)
            lines = data.split(b"\n")
            if len(data) == _LOOK_BYTES and len(lines) > 1:
                lines.pop()  # cut off
        look.bytes += len(data)
        for line in lines:
            text = line.strip()
            if is_blank(line):
                gap = len(look.lengths) > before
                continue
            look.gaps += gap
            gap = False
            look.lengths.append(len(text))
            look.finished += text.endswith(_SENTENCE_ENDS)
        look.lines_of_files.append(len(look.lengths) - before)
    return look
