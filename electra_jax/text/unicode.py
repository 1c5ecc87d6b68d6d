"""Replaces lone surrogates (invalid Unicode, from JSON escapes) with U+FFFD."""

from __future__ import annotations


def well_formed(text: str) -> str:
    """The text with U+FFFD in the place of each lone surrogate, which JSON may hold as an escape
    ("\\ud83d") and no tokenizer or file takes; offsets stay what they were."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
