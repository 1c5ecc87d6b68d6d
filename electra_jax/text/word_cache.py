"""Encoding by parts already seen: a corpus repeats its words, so most need not be tokenized again.

Exact, not approximate: text is cut only where the tokenizer itself would cut it, before anything
could act across the cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

_CHINESE = (
    "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f"
)
"""The ranges that BERT's normalizer surrounds with spaces."""

MAX_ENTRIES = 1 << 19
MAX_LENGTH = 32
"""Longer parts (characters) rarely come again and are not kept."""


class WordCache:
    """Ids of the parts of a text, remembered."""

    def __init__(
        self,
        split: Callable[[str], list[str]],
        encode_each: Callable[[Sequence[str]], list[list[int]]],
    ):
        self._split = split
        self._encode_each = encode_each
        self._known: dict[str, list[int]] = {"": []}

    @classmethod
    def for_definition(
        cls,
        definition: dict[str, Any],
        encode_each: Callable[[Sequence[str]], list[list[int]]],
    ) -> WordCache | None:
        """A cache for a tokenizer.json's content, or None where cutting would not be exact."""
        split = word_splitter(definition)
        return cls(split, encode_each) if split else None

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""
        parts = [self._split(text) for text in texts]
        known = self._known
        new = list(dict.fromkeys(part for part in chain(*parts) if part not in known))
        if len(known) + len(new) > MAX_ENTRIES:
            known = self._known = {"": []}
            new = list(dict.fromkeys(part for part in chain(*parts) if part))
        known.update(zip(new, self._encode_each(new), strict=True))
        result = [list(chain.from_iterable(map(known.__getitem__, part))) for part in parts]
        for part in new:
            if len(part) > MAX_LENGTH:
                del known[part]
        return result


def word_splitter(definition: dict[str, Any]) -> Callable[[str], list[str]] | None:
    """Cuts a text into parts that are tokenized independently; None where that is not known."""
    if any(not token["special"] for token in definition["added_tokens"]):
        return None  # such a token may contain spaces
    normalizer = definition["normalizer"] or {}
    pre_tokenizer = definition["pre_tokenizer"] or {}
    if normalizer.get("type") == "BertNormalizer":
        if pre_tokenizer.get("type") != "BertPreTokenizer":
            return None
        if not normalizer["handle_chinese_chars"]:
            return _at_spaces
        return re.compile(f"[{_CHINESE}]|[^ {_CHINESE}]+").findall
    collapses = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    steps = normalizer.get("normalizers", [])
    words_are_separate = (
        pre_tokenizer.get("type") == "Metaspace"
        and pre_tokenizer.get("split") is True
        and pre_tokenizer.get("prepend_scheme") == "always"
        and collapses in steps
    )
    return _at_spaces_unless_marked if words_are_separate else None


def _at_spaces(text: str) -> list[str]:
    return text.split(" ")


def _at_spaces_unless_marked(text: str) -> list[str]:
    # A word that begins with the sign for a space looks like the beginning of a text.
    return [text] if "\u2581" in text else text.split(" ")
