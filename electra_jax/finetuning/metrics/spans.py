"""Tag sequences (BIO, IOB1, BIOES, BMES, BILOU) as typed spans of words, and back.

`find_spans` reads any of these schemes, inconsistent sequences included, by the rule of conlleval
and of seqeval's default mode (which know no L, U and M): every tag but "O" belongs to some span.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from electra_jax.errors import UserError

OUTSIDE = "O"
SCHEMES = ("BIO", "IOB1", "BIOES", "BMES")

# The letters of BMES and BILOU in those of BIOES.
_LETTERS = {"B": "B", "I": "I", "E": "E", "S": "S", "M": "I", "L": "E", "U": "S"}


class Span(NamedTuple):
    """Words [start, end) of a sentence that are one entity of a type."""

    type: str
    start: int
    end: int


@functools.lru_cache(maxsize=4096)
def split_tag(tag: str) -> tuple[str, str]:
    """("B", "PER") of "B-PER"; the letter is one of B I E S O. The type of a bare "B" is "_".

    Raises:
      UserError: a tag that marks no span ("NOUN").
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    letter, dash, kind = tag.partition("-")
    if letter not in _LETTERS or bool(dash) != bool(kind):
        raise UserError(
            f"tag {tag!r} marks no span: span tags are O or a letter of {'/'.join(_LETTERS)}, "
            "a hyphen and a type (B-PER)"
        )
    return _LETTERS[letter], kind or "_"


def is_span_tag(tag: str) -> bool:
    """Whether `split_tag` can read it."""
    try:
        split_tag(tag)
    except UserError:
        return False
    return True


def scheme_of(tags: Iterable[str]) -> str:
    """The scheme that a set of tags is written in: "BMES", "BIOES" or "BIO".

    IOB1 has the letters of BIO and cannot be recognised.
    """
    letters = {tag[:1] for tag in tags if tag != OUTSIDE}
    if "M" in letters:
        return "BMES"
    return "BIOES" if letters & set("ESLU") else "BIO"


def find_spans(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence's tags, whatever their scheme (see the module).

    A span begins at B or S, after O, E or S, and wherever the type changes; it ends before the
    next one or the next O.

    Args:
      tags: one a word; strings that `split_tag` can read.
    """
    spans: list[Span] = []
    start, last_letter, last_type = 0, OUTSIDE, ""
    for i, (letter, kind) in enumerate([*map(split_tag, tags), (OUTSIDE, "")]):
        begins = letter != OUTSIDE and (letter in "BS" or last_letter in "OES" or kind != last_type)
        if last_letter != OUTSIDE and (begins or letter == OUTSIDE):
            spans.append(Span(last_type, start, i))
        if begins:
            start = i
        last_letter, last_type = letter, kind
    return spans


def write_tags(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    """The inverse: `length` tags in one of SCHEMES.

    Raises:
      ValueError: spans that overlap, are empty or leave the sentence; an unknown scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}, known: {', '.join(SCHEMES)}")
    tags = [OUTSIDE] * length
    last = Span("", 0, 0)
    for span in sorted(spans, key=lambda span: span.start):
        size = span.end - span.start
        if size < 1 or span.start < last.end or span.end > length:
            raise ValueError(f"{span} is empty, overlaps another or exceeds {length} words")
        if scheme in ("BIOES", "BMES"):
            inside = "I" if scheme == "BIOES" else "M"
            letters = "S" if size == 1 else "B" + inside * (size - 2) + "E"
        else:
            touches = span.start == last.end and span.type == last.type
            letters = ("B" if scheme == "BIO" or touches else "I") + "I" * (size - 1)
        tags[span.start : span.end] = [f"{letter}-{span.type}" for letter in letters]
        last = span
    return tags
