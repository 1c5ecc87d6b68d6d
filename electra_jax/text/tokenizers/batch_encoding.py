"""Texts as a batch that a network reads: [CLS] a [SEP], or [CLS] a [SEP] b [SEP], padded, with the
ids that `transformers` gives. The fine-tuning tasks encode by the reference's rules instead, which
cut pairs differently (`finetuning/data/encoding.py`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from electra_jax.errors import UserError

Array = NDArray[np.int32]


@dataclasses.dataclass(frozen=True, eq=False)
class BatchEncoding(Mapping[str, Array]):
    """A batch of texts; also a mapping of its fields, `**`-able and indexable by their names.

    All int32 [batch, length]: `input_ids`, right-padded; `attention_mask`, 1 at tokens and 0 at
    padding; `token_type_ids`, 1 in a pair's second text with its [SEP] and 0 elsewhere.
    """

    input_ids: Array
    attention_mask: Array
    token_type_ids: Array

    def __getitem__(self, name: str) -> Array:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dataclass_fields__)

    def __len__(self) -> int:
        return len(self.__dataclass_fields__)


def encode_batch(
    first: Sequence[Sequence[int]],
    second: Sequence[Sequence[int]] | None,
    max_length: int | None,
    *,
    cls: int,
    sep: int,
    pad: int,
) -> BatchEncoding:
    """`BatchEncoding` of texts given as ids without special tokens; `second` are the pairs' other
    halves. Raises `UserError` where `max_length` leaves no room for a token of each."""
    specials = 2 if second is None else 3
    if max_length is not None and max_length < specials + (1 if second is None else 2):
        raise UserError(f"max_length={max_length}: too short for [CLS], [SEP] and a token")
    rows: list[tuple[list[int], int]] = []  # (ids, where the token types become 1)
    for number, ids in enumerate(first):
        other = None if second is None else second[number]
        if max_length is not None:
            ids, other = _cut(ids, other, max_length - specials)
        row = [cls, *ids, sep]
        start = len(row)
        if other is not None:
            row += [*other, sep]
        rows.append((row, start))
    shape = len(rows), max((len(row) for row, _ in rows), default=0)
    batch = BatchEncoding(
        np.full(shape, pad, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    )
    for number, (row, start) in enumerate(rows):
        batch.input_ids[number, : len(row)] = row
        batch.attention_mask[number, : len(row)] = 1
        batch.token_type_ids[number, start : len(row)] = 1
    return batch


def _cut(
    first: Sequence[int], second: Sequence[int] | None, limit: int
) -> tuple[Sequence[int], Sequence[int] | None]:
    """The beginnings that fit into `limit` tokens: the longer of two is cut first, and where both
    are, the shorter (of equal ones: the first) keeps half, rounded down."""
    if second is None:
        return first[:limit], None
    if len(first) + len(second) <= limit:
        return first, second
    short, long = sorted((len(first), len(second)))
    short, long = (short, limit - short) if 2 * short <= limit else (limit // 2, limit - limit // 2)
    kept = (short, long) if len(first) <= len(second) else (long, short)
    return first[: kept[0]], second[: kept[1]]
