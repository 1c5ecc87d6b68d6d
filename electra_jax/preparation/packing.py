"""Packing: tokenized documents → rows of a fixed length. Pure functions of their arguments.

A row is a sequence of packed segments, `[CLS] … [SEP]` or `[CLS] A [SEP] B [SEP]` (A and B are
sentences, distinguished by their token types), and padding on the right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from electra_jax.text.tokenizers.special_ids import SpecialIds

MIN_SEQ_LEN = 8
"""Shortest rows: room for two sentences with text in both, and for masking some of it."""


@dataclass(frozen=True)
class Packed:
    """Rows and what went into them.

    rows: [rows, seq_len] int32. tokens: text tokens in the rows. dropped: text tokens left out.
    filled: ids that are not padding. max_segments: most segments in one row.
    """

    rows: np.ndarray
    tokens: int
    dropped: int
    filled: int
    max_segments: int


class Random(Protocol):
    """The random numbers that the reference takes (`random.Random` has them)."""

    def random(self) -> float: ...

    def randint(self, a: int, b: int) -> int: ...


def pack_full(
    ids: np.ndarray,
    document_lengths: np.ndarray,
    seq_len: int,
    special_ids: SpecialIds,
    *,
    max_segments: int | None = None,
    sentence_lengths: np.ndarray | None = None,
) -> Packed:
    """Packs every token of every document; rows come in the order of the text.

    A document is cut into segments of `seq_len` ids (specials included) and a remnant. Segments are
    rows; a remnant goes into the first row of remnants that has room, else begins a new one.

    Args:
      ids: [total] token ids of all documents, one after the other, without special tokens.
      document_lengths: [documents] tokens of each; documents may be empty.
      seq_len: length of a row.
      special_ids: of the tokenizer.
      max_segments: most remnants in one row (None: as many as fit).
      sentence_lengths: [sentences] tokens of each line, to split a segment of several lines into
        sentences A and B at the line end nearest to its middle; must not cross documents.
    """
    split = sentence_lengths is not None
    room = seq_len - (3 if split else 2)
    lengths = np.asarray(document_lengths, np.int64)
    starts = np.cumsum(lengths) - lengths
    ends = np.cumsum(sentence_lengths) if sentence_lengths is not None else None
    whole, remnant = np.divmod(lengths, room)

    bins = _first_fit(remnant + (3 if split else 2), remnant > 0, seq_len, max_segments)
    # Rows in order: those of a document's full segments, then its remnant's if it begins a row.
    new_rows = whole + bins.begins
    first_row = np.cumsum(new_rows) - new_rows
    rows = np.full((int(new_rows.sum()), seq_len), special_ids.pad, np.int32)

    document, part = _expand(whole)
    segments = _Segments(
        row=np.concatenate([first_row[document] + part, (first_row + whole)[bins.opener]]),
        column=np.concatenate([np.zeros_like(part), bins.column]),
        start=np.concatenate(
            [starts[document] + part * room, (starts + whole * room)[bins.document]]
        ),
        length=np.concatenate([np.full(len(part), room), remnant[bins.document]]),
    )
    cuts = np.zeros(len(segments.row), np.int64)
    if ends is not None:
        cuts = _middle_cuts(segments, ends)
    _write(rows, ids, segments, cuts, special_ids)
    separators = int((cuts > 0).sum())
    return Packed(
        rows=rows,
        tokens=int(lengths.sum()),
        dropped=0,
        filled=int(lengths.sum()) + 2 * len(segments.row) + separators,
        max_segments=int(np.bincount(segments.row).max()) if len(segments.row) else 0,
    )


@dataclass(frozen=True)
class _Segments:
    """Each segment's place in the rows (row, column of its [CLS]) and source in `ids`."""

    row: np.ndarray
    column: np.ndarray
    start: np.ndarray
    length: np.ndarray


@dataclass(frozen=True)
class _Bins:
    """Placement of remnants. `begins` [documents]: 1 where the remnant begins a row; the others
    [remnants]: its document, the document that began its row, its column."""

    begins: np.ndarray
    document: np.ndarray
    opener: np.ndarray
    column: np.ndarray


def _first_fit(
    sizes: np.ndarray, present: np.ndarray, seq_len: int, max_segments: int | None
) -> _Bins:
    """First-fit of the present remnants (sizes with special tokens) into rows of `seq_len`."""
    documents = np.flatnonzero(present)
    begins = np.zeros(len(sizes), np.int64)
    opener = np.zeros(len(documents), np.int64)
    column = np.zeros(len(documents), np.int64)
    free = np.zeros(len(documents), np.int64)
    count = np.zeros(len(documents), np.int64)
    opened = np.zeros(len(documents), np.int64)
    used = 0
    for i, document in enumerate(documents):
        size = sizes[document]
        fits = free[:used] >= size
        place = int(fits.argmax()) if used else 0
        if not used or not fits[place]:
            place = used
            used += 1
            free[place], opened[place] = seq_len, document
            begins[document] = 1
        opener[i], column[i] = opened[place], seq_len - free[place]
        count[place] += 1
        free[place] = 0 if count[place] == max_segments else free[place] - size
    return _Bins(begins, documents, opener, column)


def _expand(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For counts [2, 0, 1]: owners [0, 0, 2] and positions [0, 1, 0]."""
    owner = np.repeat(np.arange(len(counts)), counts)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return owner, position


def _middle_cuts(segments: _Segments, ends: np.ndarray) -> np.ndarray:
    """Tokens of sentence A in each segment: the line end nearest to the middle, 0 where none is."""
    if not len(ends):
        return np.zeros(len(segments.row), np.int64)
    middle = segments.start + segments.length / 2
    after = np.searchsorted(ends, middle)
    candidates = np.stack([ends[np.maximum(after - 1, 0)], ends[np.minimum(after, len(ends) - 1)]])
    distance = np.abs(candidates - middle)
    inside = (candidates > segments.start) & (candidates < segments.start + segments.length)
    distance = np.where(inside, distance, np.inf)
    best = np.take_along_axis(candidates, distance.argmin(0)[None], 0)[0]
    return np.where(np.isfinite(distance.min(0)), best - segments.start, 0)


def _write(
    rows: np.ndarray,
    ids: np.ndarray,
    segments: _Segments,
    cuts: np.ndarray,
    special_ids: SpecialIds,
) -> None:
    """Writes every segment at its row and column."""
    begin = segments.row * rows.shape[1] + segments.column
    flat = rows.reshape(-1)
    flat[begin] = special_ids.cls
    flat[begin + 1 + segments.length + (cuts > 0)] = special_ids.sep
    split = cuts > 0
    flat[(begin + 1 + cuts)[split]] = special_ids.sep
    owner, position = _expand(segments.length)
    second = split[owner] & (position >= cuts[owner])
    flat[begin[owner] + 1 + position + second] = ids[segments.start[owner] + position]


@dataclass(frozen=True)
class ReferenceExample:
    """`[CLS] first [SEP]` and, where `second` is not empty, `second [SEP]`; before padding."""

    ids: list[int]
    first: int
    """Tokens of sentence A, [CLS] and its [SEP] included: token types are 0 so far, then 1."""


class ReferencePacker:
    """Examples as the original ELECTRA code builds them (`build_pretraining_dataset.py` as of
    March 2020), given the same random numbers.

    Lines are collected until they reach the target length, then distributed over sentences A and B;
    what exceeds the row is dropped. Nearly every example is of the full length, 5 % are shorter
    at random, 10 % are meant to have one sentence.
    """

    def __init__(self, max_length: int, special_ids: SpecialIds, random: Random):
        """`max_length`: length of a row; `random`: the source of random numbers."""
        self._max_length = max_length
        self._special_ids = special_ids
        self._random = random
        self._lines: list[Sequence[int]] = []
        self._length = 0
        self.target_length = max_length

    def add_line(self, ids: Sequence[int]) -> ReferenceExample | None:
        """Takes one line of the document; an example, if the line completes one."""
        self._lines.append(ids)
        self._length += len(ids)
        return self._emit() if self._length >= self.target_length else None

    def end_document(self) -> ReferenceExample | None:
        """Examples do not cross documents: what is left makes one."""
        return self._emit() if self._length else None

    def _emit(self) -> ReferenceExample:
        random = self._random
        # In a tenth of the cases A may take everything.
        single = random.random() < 0.1
        first_target = 100_000 if single else (self.target_length - 3) // 2
        first: list[int] = []
        second: list[int] = []
        for line in self._lines:
            if (
                not first
                or len(first) + len(line) < first_target
                or (not second and len(first) < first_target and random.random() < 0.5)
            ):
                first.extend(line)
            else:
                second.extend(line)
        first = first[: self._max_length - 2]
        second = second[: max(0, self._max_length - len(first) - 3)]
        self._lines, self._length = [], 0
        short = random.random() < 0.05
        self.target_length = random.randint(5, self._max_length) if short else self._max_length
        special = self._special_ids
        ids = [special.cls, *first, special.sep]
        return ReferenceExample([*ids, *second, special.sep] if second else ids, len(ids))


def pack_reference(
    ids: np.ndarray,
    line_lengths: np.ndarray,
    document_lines: np.ndarray,
    seq_len: int,
    special_ids: SpecialIds,
    random: Random,
) -> Packed:
    """Packs documents with a `ReferencePacker`.

    Args:
      ids: [total] token ids of all lines.
      line_lengths: [lines] tokens of each line.
      document_lines: [documents] lines of each document.
    """
    packer = ReferencePacker(seq_len, special_ids, random)
    tokens = ids.tolist()
    ends = np.cumsum(line_lengths).tolist()
    examples = list(_reference_examples(packer, tokens, ends, document_lines.tolist()))
    rows = np.full((len(examples), seq_len), special_ids.pad, np.int32)
    kept = filled = 0
    for row, example in zip(rows, examples, strict=True):
        row[: len(example.ids)] = example.ids
        filled += len(example.ids)
        kept += len(example.ids) - (3 if len(example.ids) > example.first else 2)
    return Packed(rows, kept, len(ids) - kept, filled, 1 if len(examples) else 0)


def _reference_examples(
    packer: ReferencePacker, tokens: list[int], ends: list[int], document_lines: list[int]
) -> Iterator[ReferenceExample]:
    line = start = 0
    for count in document_lines:
        for end in ends[line : line + count]:
            example = packer.add_line(tokens[start:end])
            if example:
                yield example
            start = end
        line += count
        example = packer.end_document()
        if example:
            yield example
