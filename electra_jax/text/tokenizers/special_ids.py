"""The five special tokens that ELECTRA needs: their roles, and the ids that a tokenizer gives them.

Apart from the tokenizer, so that what only computes with ids does not import `tokenizers`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens, one for each of `ROLES`."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


ROLES = tuple(field.name for field in fields(SpecialIds))
