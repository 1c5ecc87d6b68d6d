"""Rows of several folders in fixed shares: continual pretraining on new text with some of the old
replayed.

`data.path` names one folder, or folders with their shares: `{rows/new: 0.95, rows/old: 0.05}`
(from Python a dict). Every block of BLOCK consecutive examples of a run holds exactly its share of
each folder, in a shuffled order; within a folder its rows come in an order of their own, each once
an epoch of that folder. All of it is a function of the position, as with one folder (`order.py`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from electra_jax.data.order import rows_of
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError

BLOCK = 1000  # examples; shares are multiples of 1 / BLOCK


class Mixture:
    """Several folders' rows as one: what `Rows` offers to a run, with the same meaning.

    Attributes:
      parts: the open folders.
      shares: of each in every BLOCK examples, integers that add up to BLOCK.
      folder: the first part's.
      count: rows of all parts; a row's number counts through them in order.
    """

    def __init__(self, parts: Sequence[Rows], shares: Sequence[int]) -> None:
        if len(parts) != len(shares) or sum(shares) != BLOCK or min(shares) < 1:
            raise ValueError(f"shares {list(shares)} of {len(parts)} parts")
        _check_alike(parts)
        first = parts[0]
        self.parts, self.shares = list(parts), list(shares)
        self.folder, self.split, self.packing = first.folder, first.split, first.packing
        self.seq_len, self.vocab_size = first.seq_len, first.vocab_size
        self.special_ids = first.special_ids
        self.tokenizer_hash, self.tokenizer_folder = first.tokenizer_hash, first.tokenizer_folder
        self.count = sum(part.count for part in parts)
        self.tokens = sum(part.tokens for part in parts)
        self.max_segments = max(part.max_segments for part in parts)
        named = [[part.fingerprint, share] for part, share in zip(parts, shares, strict=True)]
        self.fingerprint = hashlib.sha256(json.dumps(named).encode()).hexdigest()
        self._first_row = np.concatenate([[0], np.cumsum([part.count for part in parts])])
        self._first_place = np.concatenate([[0], np.cumsum(shares)])

    def order(self, examples: ArrayLike, seed: int) -> NDArray[np.int64]:
        """The row that each example of a run reads, int64 in the shape of `examples`."""
        given = np.asarray(examples, dtype=np.int64)
        # The place of an example in its block says which part it comes from, and its rank there.
        place = rows_of(given, BLOCK, seed)
        part = np.searchsorted(self._first_place, place, side="right") - 1
        found = np.empty(given.shape, np.int64)
        for number, (rows, share) in enumerate(zip(self.parts, self.shares, strict=True)):
            mine = part == number
            rank = place[mine] - self._first_place[number]
            own = given[mine] // BLOCK * share + rank
            found[mine] = self._first_row[number] + rows_of(own, rows.count, seed + number + 1)
        return found

    def take(self, ids: ArrayLike) -> NDArray[np.int32]:
        """The rows of these numbers: int32 [len(ids), seq_len]. Errors are those of `Rows.take`."""
        numbers = np.asarray(ids, dtype=np.int64)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.count):
            raise IndexError(f"the mixture has the rows 0 to {self.count - 1}")
        part = np.searchsorted(self._first_row, numbers, side="right") - 1
        out = np.empty((len(numbers), self.seq_len), np.int32)
        for number, rows in enumerate(self.parts):
            mine = part == number
            if mine.any():
                out[mine] = rows.take(numbers[mine] - self._first_row[number])
        return out

    def word_starts(self) -> NDArray[np.bool_]:
        """As of `Rows`: all parts have one vocabulary."""
        return self.parts[0].word_starts()

    def token_counts(self, most: int | None = None) -> NDArray[np.int64]:
        """How often each token occurs in a sample of at most `most` rows that has the shares of the
        mixture, int64 [vocab_size]."""
        limit = min(part.count * BLOCK / share for part, share in self._pairs())
        size = limit if most is None else min(limit, most)
        counts = [p.token_counts(math.ceil(size * share / BLOCK)) for p, share in self._pairs()]
        return np.sum(counts, axis=0, dtype=np.int64)

    def describe(self, named: bool = False) -> list[str]:
        """A line for each folder: its share and its rows; `named` by the last part of its path."""
        return [
            f"{share / BLOCK:.1%} of the rows are from "
            f"{rows.folder.name if named else rows.folder} ({rows.count:,} rows)"
            for rows, share in self._pairs()
        ]

    def __len__(self) -> int:
        return self.count

    def _pairs(self) -> list[tuple[Rows, int]]:
        return list(zip(self.parts, self.shares, strict=True))


def open_rows(setting: str | os.PathLike[str]) -> Rows | Mixture:
    """The training rows that `data.path` names.

    Raises:
      UserError: no rows in a folder (named), a wrong share, or folders that do not fit together.
    """
    shares = parse_shares(os.fspath(setting))
    if shares is None:
        return Rows.open(setting)
    parts = [Rows.open(path) for path in shares]
    return Mixture(parts, _in_blocks(list(shares.values()), f"data.path={setting}"))


def folders_of(setting: str | os.PathLike[str]) -> list[str]:
    """The folders that `data.path` names, in its order."""
    return list(parse_shares(os.fspath(setting)) or [os.fspath(setting)])


def parse_shares(setting: str) -> dict[str, float] | None:
    """{folder: share} of a mixture; None of one folder's name."""
    text = setting.strip()
    if not (text.startswith("{") and text.endswith("}")) or Path(setting).exists():
        return None
    found: dict[str, float] = {}
    for part in filter(str.strip, text[1:-1].split(",")):
        path, colon, share = part.rpartition(":")
        path = path.strip().strip("\"'")
        try:
            found[path] = float(share)
        except ValueError:
            colon = ""
        if not colon or not path:
            raise UserError(
                f"data.path={setting}: {part.strip()!r} is not FOLDER: SHARE, as in "
                "{rows/new: 0.95, rows/old: 0.05}"
            )
    if not found or any(not 0 < share < math.inf for share in found.values()):
        raise UserError(f"data.path={setting}: shares must be above 0")
    return found


def _in_blocks(shares: Sequence[float], where: str) -> list[int]:
    """Shares as integers that add up to BLOCK, by largest remainders."""
    exact = np.asarray(shares, float) / math.fsum(shares) * BLOCK
    whole = np.floor(exact).astype(int)
    for number in np.argsort(whole - exact, kind="stable")[: BLOCK - whole.sum()]:
        whole[number] += 1
    if whole.min() < 1:
        raise UserError(f"{where}: a share below 1/{BLOCK} is none: leave that folder out")
    return [int(number) for number in whole]


def _check_alike(parts: Sequence[Rows]) -> None:
    first = parts[0]
    for part in parts[1:]:
        for what, mine, its in (
            ("tokenizer", first.tokenizer_hash, part.tokenizer_hash),
            ("seq_len", first.seq_len, part.seq_len),
            ("vocabulary", first.vocab_size, part.vocab_size),
            ("special_ids", first.special_ids, part.special_ids),
        ):
            if mine != its:
                raise UserError(
                    f"data.path: the rows in {first.folder} and {part.folder} have another {what}: "
                    "prepare both with the same tokenizer and --seq_len"
                )


def as_text(shares: Mapping[str, float]) -> str:
    """The text form of a mixture, as `parse_shares` reads it."""
    return "{" + ", ".join(f"{path}: {share:g}" for path, share in shares.items()) + "}"
