"""A cache of word ids: a corpus repeats its words, so most need not be tokenized again.

Exact: text is split only where the tokenizer itself splits it, before any step that could act
across the split.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_CHINESE = (
    "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f"
)
"""The ranges that BERT's normalizer surrounds with spaces."""

_PARTS = re.compile(f"[{_CHINESE}]|[^ {_CHINESE}]+")
_HIGH = re.compile("[\u3400-\U0010ffff]")  # quicker to look for than the ranges themselves
_PUNCTUATION = r"!-/:-@\[-`{-~\u2010-\u2027"  # each a word of its own
_BEFORE_AND_AFTER = re.compile(f"[{_PUNCTUATION}]|[^{_PUNCTUATION}]+")
_EncodeEach = Callable[[Sequence[str]], list[list[int]]]

MAX_ENTRIES = 1 << 19
MAX_LENGTH = 32
"""Longer parts (characters) rarely repeat and are not cached."""


@dataclass(frozen=True)
class Cuts:
    """Two ways to cut a text into parts that are tokenized independently; joined, they are it,
    less spaces."""

    coarse: Callable[[str], list[str]]
    fine: Callable[[str], list[str]]


class WordCache:
    """Caches the ids of the parts of texts.

    A new part is split again, more finely, before anything is tokenized: "(word," is made of parts
    that are cached already.
    """

    def __init__(self, cuts: Cuts, encode_each: _EncodeEach):
        self._cuts = cuts
        self._encode_each = encode_each
        self._known: dict[str, bytes] = {"": b""}  # ids as int32: joined without touching numbers

    @classmethod
    def for_definition(
        cls, definition: dict[str, Any], encode_each: _EncodeEach
    ) -> WordCache | None:
        """A cache for a tokenizer.json's content, or None where cutting would not be exact."""
        cuts = exact_cuts(definition)
        return cls(cuts, encode_each) if cuts else None

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts, joined [total] int32, and how many each has [texts] int64."""
        if len(self._known) > MAX_ENTRIES:
            self._known = {"": b""}
        known = self._known
        joined = [b""] * len(texts)
        late: dict[int, list[str]] = {}
        for i, text in enumerate(texts):
            parts = self._cuts.coarse(text)
            try:
                joined[i] = b"".join(map(known.__getitem__, parts))
            except KeyError:
                late[i] = parts
        if late:
            fresh = self._encode_new({part for parts in late.values() for part in parts})
            found = ChainMap(fresh, known)
            for i, parts in late.items():
                joined[i] = b"".join([found[part] for part in parts])
        counts = np.fromiter(map(len, joined), np.int64, len(joined)) // 4
        return np.frombuffer(b"".join(joined), np.int32), counts

    def _encode_new(self, parts: set[str]) -> dict[str, bytes]:
        """Ids of parts of which some are not cached yet; caches the short ones."""
        known = self._known
        finer = {part: self._cuts.fine(part) for part in parts if part not in known}
        new = list({p: None for cut in finer.values() for p in cut if p not in known})
        fresh = {
            part: np.array(ids, np.int32).tobytes()
            for part, ids in zip(new, self._encode_each(new), strict=True)
        }
        for part, cut in finer.items():
            if part not in fresh:
                fresh[part] = b"".join([known[p] if p in known else fresh[p] for p in cut])
        known.update((part, ids) for part, ids in fresh.items() if len(part) <= MAX_LENGTH)
        return fresh


def exact_cuts(definition: dict[str, Any]) -> Cuts | None:
    """How to split texts for this tokenizer.json's content; None where no exact split is known."""
    if any(not token["special"] for token in definition["added_tokens"]):
        return None  # such a token may contain spaces
    normalizer = definition["normalizer"] or {}
    pre_tokenizer = definition["pre_tokenizer"] or {}
    if normalizer.get("type") == "BertNormalizer":
        if pre_tokenizer.get("type") != "BertPreTokenizer":
            return None
        chinese = normalizer["handle_chinese_chars"]
        return Cuts(_at_spaces_and_chinese if chinese else _at_spaces, _BEFORE_AND_AFTER.findall)
    collapses = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    steps = normalizer.get("normalizers", [])
    words_are_separate = (
        pre_tokenizer.get("type") == "Metaspace"
        and pre_tokenizer.get("split") is True
        and pre_tokenizer.get("prepend_scheme") == "always"
        and collapses in steps
    )
    return Cuts(_at_spaces_unless_marked, lambda part: [part]) if words_are_separate else None


def _at_spaces(text: str) -> list[str]:
    return text.split(" ")


def _at_spaces_and_chinese(text: str) -> list[str]:
    return _PARTS.findall(text) if _HIGH.search(text) else text.split(" ")


def _at_spaces_unless_marked(text: str) -> list[str]:
    # A word that begins with the sign for a space looks like the beginning of a text.
    return [text] if "\u2581" in text else text.split(" ")
