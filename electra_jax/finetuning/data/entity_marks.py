"""Two marked entities of a text: the ways in which data sets mark them become one.

"$ … $" stands around the first entity (the head) and "# … #" around the second (the tail), with
spaces. These are characters that every vocabulary has, so that a pretrained model needs no new
token.
"""

from __future__ import annotations

import re

from electra_jax.errors import UserError

MARKS = ("$", "#")
_MARKS = (
    (("<e1>", "</e1>"), ("<e2>", "</e2>")),
    (("[[", "]]"), ("<<", ">>")),
)


def mark_spans(text: str, head: tuple[int, int], tail: tuple[int, int]) -> str:
    """The text with "$ … $" around the head and "# … #" around the tail.

    Spans are [start, end) in characters; nested spans give nested marks.
    """
    marks = []
    for order, (mark, (start, end)) in enumerate((("$", head), ("#", tail))):
        # Sorted so that closing comes before opening and the longer span is outside.
        marks.append((start, 1, -end, order, f" {mark} "))
        marks.append((end, 0, -start, -order, f" {mark} "))
    parts, position = [], 0
    for offset, *_, mark in sorted(marks):
        parts += [text[position:offset].strip(" "), mark]
        position = offset
    parts.append(text[position:].strip(" "))
    return re.sub("  +", " ", "".join(parts)).strip()


def mark_entities(text: str, where: str = "the text") -> str:
    """`mark_spans` of a text whose entities stand in <e1>…</e1> and <e2>…</e2>, in [[…]] (the first
    entity) and <<…>> (the second), or in two pairs of either (in their order).

    Raises:
      UserError: not exactly two marked entities.
    """
    for pair in _MARKS:
        if all(text.count(mark) == 1 for entity in pair for mark in entity):
            (open_a, close_a), (open_b, close_b) = pair
            for old, new in ((open_a, "$"), (close_a, "$"), (open_b, "#"), (close_b, "#")):
                text = text.replace(old, f" {new} ")
            return re.sub(r"\s+", " ", text).strip()
    for opening, closing in (("[[", "]]"), ("<<", ">>")):
        if text.count(opening) == 2 == text.count(closing):
            for new in ("$", "#"):
                text = text.replace(opening, f" {new} ", 1).replace(closing, f" {new} ", 1)
            return re.sub(r"\s+", " ", text).strip()
    raise UserError(
        f"{where}: two entities must be marked, as <e1>…</e1> and <e2>…</e2>, or as [[…]] and "
        "<<…>>, or by head and tail spans in columns of their own; found: " + text[:80]
    )
