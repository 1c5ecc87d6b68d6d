"""Reads a rows folder: fixed-length rows of token ids in flat files, addressed by number."""

import hashlib
import itertools
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from electra_jax.data.order import rows_of
from electra_jax.data.row_format import (
    DTYPES,
    FORMAT,
    MANIFEST,
    TOKENIZER_FOLDER,
    header_problem,
    split_problem,
)
from electra_jax.errors import UserError
from electra_jax.files import read_json
from electra_jax.text.tokenizers.special_ids import ROLES


class Rows:
    """One split of a rows folder, open for reading; made by `Rows.open`.

    Rows are read with positioned reads of open files rather than through a memory map: a file that
    shrinks under a map kills the process by a signal, a short read can name the file. Safe to
    use from several threads.

    Attributes:
      folder: its path.
      split: "train" or "eval".
      count: number of rows.
      seq_len: tokens in a row, padding included.
      vocab_size: token ids are below this.
      special_ids: {"pad", "unk", "cls", "sep", "mask"} → id.
      fingerprint: hash of the content; equal for equal rows.
      tokenizer_hash: of the tokenizer that made the rows.
      tokenizer_folder: that tokenizer.
      max_segments: the largest number of packed segments in one row of this split.
      tokens: token ids in this split that are not padding.
      packing: how documents became rows, "full" or "reference".
    """

    def __init__(self, folder: Path, split: str, header: dict[str, Any]) -> None:
        self.folder = folder
        self.split = split
        self.seq_len = int(header["seq_len"])
        self.vocab_size = int(header["vocab_size"])
        self.special_ids = {name: int(header["special_ids"][name]) for name in ROLES}
        self.packing = str(header["packing"])
        self.fingerprint = str(header["fingerprint"])
        self.tokenizer_hash = str(header["tokenizer_hash"])
        self.tokenizer_folder = folder / TOKENIZER_FOLDER
        described = header["splits"][split]
        self.count = int(described["rows"])
        self.tokens = int(described["tokens"])
        self.max_segments = int(described["max_segments"])
        self._dtype = DTYPES[header["dtype"]]
        self._row_bytes = self.seq_len * self._dtype.itemsize
        self._files = [folder / shard["file"] for shard in described["shards"]]
        self._digests = [str(shard["sha256"]) for shard in described["shards"]]
        rows = [int(shard["rows"]) for shard in described["shards"]]
        self._first = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)]).astype(np.int64)
        if self._first[-1] != self.count:
            raise UserError(
                f"{folder / MANIFEST}: split {split!r} says {self.count} rows and its shards "
                f"hold {self._first[-1]}; prepare the rows again"
            )
        self._descriptors: list[int] = []
        self._finalizer = weakref.finalize(self, _close, self._descriptors)
        for file, expected in zip(self._files, rows):
            self._descriptors.append(_open_shard(file, expected * self._row_bytes))

    @classmethod
    def open(cls, folder: str | os.PathLike[str], split: str = "train") -> "Rows":
        """Opens the split of a rows folder that `electra-jax prepare` finished.

        Raises:
          UserError: the folder is missing, unfinished, of an unknown format or damaged, it has no
            such split, or a shard is missing or of the wrong size (each named).
        """
        if "://" in os.fspath(folder):
            raise UserError(
                f"{folder}: rows are read from a local disk; copy the folder there first"
            )
        path = Path(folder)
        return cls(path, split, _header(path, split))

    def word_starts(self) -> NDArray[np.bool_]:
        """Whether each token of the vocabulary begins a word, bool [vocab_size]."""
        from electra_jax.text.tokenizers.tokenizer import load_tokenizer
        from electra_jax.text.tokenizers.word_starts import word_starts

        return word_starts(load_tokenizer(self.tokenizer_folder))

    def order(self, examples: ArrayLike, seed: int) -> NDArray[np.int64]:
        """The row that each example of a run reads, int64 in the shape of `examples`."""
        return rows_of(examples, self.count, seed)

    def take(self, ids: ArrayLike) -> NDArray[np.int32]:
        """The rows of these numbers: int32 [len(ids), seq_len].

        Raises:
          IndexError: a number outside [0, count).
          UserError: a shard became shorter since it was opened, or holds ids beyond the vocabulary.
        """
        numbers = np.asarray(ids, dtype=np.int64)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.count):
            raise IndexError(f"{self.folder} has the rows 0 to {self.count - 1}")
        shard = np.searchsorted(self._first, numbers, side="right") - 1
        out = np.empty((len(numbers), self.seq_len), dtype=self._dtype)
        # Neighbours in the file are read at once, so reading in file order costs few calls.
        follows = (np.diff(numbers) == 1) & (np.diff(shard) == 0)
        begins = np.concatenate([[0], np.flatnonzero(~follows) + 1, [len(numbers)]]).tolist()
        offsets = ((numbers - self._first[shard]) * self._row_bytes).tolist()
        into = memoryview(out.reshape(-1).view(np.uint8).data)
        for begin, end in itertools.pairwise(begins):
            if begin < end:
                part = into[begin * self._row_bytes : end * self._row_bytes]
                self._read(int(shard[begin]), offsets[begin], part)
        if out.size and out.max() >= self.vocab_size:
            wrong = int(shard[np.flatnonzero((out >= self.vocab_size).any(axis=1))[0]])
            raise UserError(
                f"{self._files[wrong]} holds the token id {out.max()}, and the vocabulary ends at "
                f"{self.vocab_size - 1}: the file is damaged; prepare the rows again"
            )
        return out.astype(np.int32)

    def token_counts(self, most: int | None = None) -> NDArray[np.int64]:
        """How often each token occurs, int64 [vocab_size]; of at most `most` rows, evenly
        spaced."""
        counts = np.zeros(self.vocab_size, np.int64)
        number = self.count if most is None else min(most, self.count)
        chosen = np.arange(number) * self.count // max(number, 1)
        for start in range(0, number, 4096):
            ids = self.take(chosen[start : start + 4096])
            counts += np.bincount(ids.reshape(-1), minlength=self.vocab_size)
        return counts

    def verify(self) -> None:
        """Compares every shard's SHA-256 with the recorded one; reads all of the split.

        Raises:
          UserError: names the first shard that differs.
        """
        for file, digest, descriptor in zip(self._files, self._digests, self._descriptors):
            with open(os.dup(descriptor), "rb") as shard:
                shard.seek(0)
                found = hashlib.file_digest(shard, "sha256").hexdigest()
            if found != digest:
                raise UserError(
                    f"{file} is not the file that was prepared (SHA-256 {found[:12]}…, expected "
                    f"{digest[:12]}…); restore it or prepare the rows again"
                )

    def close(self) -> None:
        """Closes the shards; also happens when the object is dropped."""
        self._finalizer()

    def __len__(self) -> int:
        return self.count

    def _read(self, shard: int, offset: int, into: memoryview) -> None:
        """Fills `into` from the shard; a read may be short, but never empty."""
        while into.nbytes:
            try:
                got = os.preadv(self._descriptors[shard], [into], offset)
            except OSError as error:
                raise UserError(f"{self._files[shard]} cannot be read: {error.strerror}") from error
            if got == 0:
                raise UserError(
                    f"{self._files[shard]} became shorter while it was in use (it ends before byte "
                    f"{offset + into.nbytes}); restore it or prepare the rows again"
                )
            offset += got
            into = into[got:]


def _header(folder: Path, split: str) -> dict[str, Any]:
    """rows.json, checked as far as reading rows depends on it."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise UserError(
            f"there is no rows folder {folder}; make one: electra-jax prepare --output={folder} …"
        )
    if not path.is_file():
        raise UserError(
            f"{folder} has no rows.json: it is no rows folder, or its preparation did not finish; "
            f"run electra-jax prepare again with the same arguments"
        )
    try:
        header = read_json(path)
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); prepare the rows again") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else None
        raise UserError(
            f"{path} is of format {found!r} and this version reads format {FORMAT}; "
            f"prepare the rows again with this version"
        )
    problem = header_problem(header)
    if problem:
        raise UserError(f"{path}: {problem}; prepare the rows again")
    if split not in header["splits"]:
        has = ", ".join(sorted(header["splits"])) or "none"
        raise UserError(f"{path} has no split {split!r} (it has: {has})")
    problem = split_problem(header["splits"][split])
    if problem:
        raise UserError(f"{path}: in split {split!r}, {problem}; prepare the rows again")
    return header


def _open_shard(file: Path, size: int) -> int:
    """A descriptor of the shard, after its size was compared."""
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise UserError(
            f"{file} is missing, though rows.json lists it; restore it or prepare the rows again"
        ) from error
    except OSError as error:
        raise UserError(f"{file} cannot be opened: {error.strerror}") from error
    found = os.fstat(descriptor).st_size
    if found != size:
        os.close(descriptor)
        raise UserError(
            f"{file} has {found} bytes and rows.json expects {size}; restore it or prepare the "
            f"rows again"
        )
    return descriptor


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
