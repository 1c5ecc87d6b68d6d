"""Words of running text, for taggers, and text of words again."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

_CLITIC = re.compile(r"(?<=\w)['\u2019](?:s|S)$")


def split_words(text: str) -> list[tuple[int, int]]:
    """[start, end) in characters of each word of running text.

    Words as in tagged corpora: characters between spaces, without the punctuation at their edges
    and an English "'s", which are words of their own, as is each Chinese, Japanese or full-width
    character. A full stop stays with an abbreviation ("U.S.", "J.").
    """
    return [span for start, end in _runs(text) for span in _without_edges(text, start, end)]


def _runs(text: str) -> Iterator[tuple[int, int]]:
    """Runs of characters between spaces, and each wide character by itself."""
    start = 0
    for i, character in enumerate(text):
        if character.isspace() or is_wide(character):
            if start < i:
                yield start, i
            if not character.isspace():
                yield i, i + 1
            start = i + 1
    if start < len(text):
        yield start, len(text)


def _without_edges(text: str, start: int, end: int) -> list[tuple[int, int]]:
    before: list[tuple[int, int]] = []
    after: list[tuple[int, int]] = []
    while end - start > 1 and _is_punctuation(text[start]):
        before.append((start, start + 1))
        start += 1
    while end - start > 1 and _is_punctuation(text[end - 1]) and not _abbreviates(text[start:end]):
        after.append((end - 1, end))
        end -= 1
    if match := _CLITIC.search(text[start:end]):
        after.append((start + match.start(), end))
        end = start + match.start()
    return [*before, (start, end), *reversed(after)]


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P")


def _abbreviates(word: str) -> bool:
    inside = "." in word[:-1].strip(".")
    return word.endswith(".") and (inside or (len(word) == 2 and word[0].isupper()))


def join_words(words: Sequence[str]) -> str:
    """Words with spaces between, except beside Chinese, Japanese kana or full-width characters."""
    text = ""
    for word in words:
        if text and word and not (is_wide(text[-1]) or is_wide(word[0])):
            text += " "
        text += word
    return text


# Blank, but no spaces, control or format characters: the combining grapheme joiner, Hangul fillers,
# variation selectors.
_BLANK = {0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}


def is_blank(word: str) -> bool:
    """Whether nothing of the word can be seen: spaces, zero-width marks, variation selectors."""
    return all(
        c.isspace() or unicodedata.category(c) in ("Cc", "Cf") or ord(c) in _BLANK for c in word
    )


def with_spaces(words: Sequence[str]) -> list[str]:
    """The words, each with the space before it that running text has, for tokenizers in which that
    space is a part of the word's tokens (byte-level BPE). Blank words become "".

    The first word has none, nor has one beside a Chinese, Japanese or full-width character. Where
    some of the words are spaces themselves (each other word may be a single letter), a word has a
    space only after one of those.
    """
    explicit = any(map(str.isspace, words))
    spaced: list[str] = []
    before, after_space = "", False
    for word in words:
        if is_blank(word):
            after_space |= any(map(str.isspace, word))
            spaced.append("")
            continue
        apart = after_space if explicit else not (is_wide(before[-1:]) or is_wide(word[0]))
        spaced.append(f" {word}" if before and apart else word)
        before, after_space = word, False
    return spaced


def is_wide(character: str) -> bool:
    """Whether it is a Chinese or Japanese character, or a full-width form; "" is not."""
    code = ord(character) if character else 0
    return (
        0x2E80 <= code <= 0xA4CF
        or 0xF900 <= code <= 0xFAFF
        or 0xFF00 <= code <= 0xFFEF
        or (0x20000 <= code <= 0x3FFFF)
    )
