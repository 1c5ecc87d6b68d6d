"""Corpora: text files and data sets as one ordered stream of documents, cut into blocks.

A block is the unit of work: its borders depend on the corpus alone, so whatever is computed
block by block is the same for any number of workers. Reading is cheap (raw bytes); decoding,
which can fail, happens in whoever processes the block.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from electra_jax.errors import UserError
from electra_jax.text.datasets import TFDS_PREFIX, open_dataset
from electra_jax.text.lines import (
    Stream,
    json_value,
    numbered_lines,
    open_bytes,
    stored_position,
)
from electra_jax.text.unicode import well_formed

LINE_LIMIT = 10 * 2**20
"""Longest line that is read, in bytes. A longer one is a file without line breaks, not text."""

DOCUMENT_LIMIT = 4 * 2**20
"""A .txt document longer than this (bytes) is continued as a new document at the next line, so
that a file without blank lines needs no more memory than any other."""

BLOCK_BYTES = 4 * 2**20
BLOCK_DOCUMENTS = 2048
"""A block ends when either is reached."""

_FORMATS = ("txt", "jsonl")
_TOO_LONG = "break the text into lines (paragraphs or sentences)"


@dataclass(frozen=True)
class RawDocument:
    """One document as bytes, with the place it came from (for error messages).

    `line` counts from 1 and `offset` (bytes) from 0; both refer to the decompressed text.
    """

    source: str
    format: str
    line: int
    offset: int
    data: bytes

    def lines(self) -> list[str]:
        """The document's non-empty lines, stripped. Raises UserError where it is not text."""
        text = self._decode()
        if self.format == "jsonl":
            text = self._text_field(text)
        return [line for line in map(str.strip, text.split("\n")) if line]

    def _decode(self) -> str:
        zero = self.data.find(b"\0")
        try:
            text = self.data.decode("utf-8")
        except UnicodeDecodeError as error:
            if zero < 0 or error.start < zero:
                raise UserError(
                    f"{self.source} is not UTF-8 text: byte {self.offset + error.start} is "
                    f"0x{self.data[error.start]:02x} (line {self._line_of(error.start)}); "
                    "convert it to UTF-8 or leave it out"
                ) from None
        if zero >= 0 and self.format != "tfds":
            raise UserError(
                f"{self.source} is a binary file: byte {self.offset + zero} is 0x00 "
                f"(line {self._line_of(zero)}); give text files only"
            )
        return text

    def _line_of(self, position: int) -> int:
        return self.line + self.data.count(b"\n", 0, position)

    def _text_field(self, text: str) -> str:
        place = f"{self.source}:{self.line}"
        record = json_value(text, place)
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            found = ", ".join(record) if isinstance(record, dict) else text.strip()[:40]
            found = found or "no fields"
            raise UserError(f'{place} has no string field "text" (found: {found})')
        value = record["text"]
        return well_formed(value) if "\\u" in text else value


@dataclass(frozen=True)
class Block:
    """Consecutive documents; `first_document` is the number of the first one in the corpus.

    `position` is how many bytes of the inputs (as stored) have been read at the block's end.
    """

    index: int
    first_document: int
    documents: tuple[RawDocument, ...]
    position: int


@dataclass(frozen=True)
class Corpus:
    """An ordered set of inputs: files sorted by path, then tfds data sets sorted by name."""

    files: tuple[str, ...]
    datasets: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Bytes of all files as stored (compressed size for .gz); data sets count as 0."""
        return sum(os.path.getsize(path) for path in self.files)

    def identity(self) -> dict[str, str | int]:
        """Number, stored size and a digest of names and sizes: changes when the corpus does."""
        return inputs_identity([*self.files, *self.datasets])

    def newest_change(self) -> int:
        """Time of the last change of any file, in nanoseconds since the epoch (0: no files)."""
        return max((os.stat(path).st_mtime_ns for path in self.files), default=0)

    def blocks(self, skip: int = 0) -> Iterator[Block]:
        """Blocks in order, from number `skip`. Same borders in every call."""
        documents: list[RawDocument] = []
        index = first = size = position = 0
        for document, position in self._raw_documents():
            documents.append(document)
            size += len(document.data)
            if size >= BLOCK_BYTES or len(documents) >= BLOCK_DOCUMENTS:
                if index >= skip:
                    yield Block(index, first, tuple(documents), position)
                first += len(documents)
                index, size, documents = index + 1, 0, []
        if documents and index >= skip:
            yield Block(index, first, tuple(documents), position)

    def documents(self) -> Iterator[list[str]]:
        """Every document as its non-empty lines, in order; documents without text are empty."""
        for document, _ in self._raw_documents():
            yield document.lines()

    def _raw_documents(self) -> Iterator[tuple[RawDocument, int]]:
        done = 0
        for path in self.files:
            name, stored = _format_of(path), os.path.getsize(path)
            reader = _read_jsonl if name == "jsonl" else _read_txt
            with open_bytes(path) as stream:
                for document in reader(path, stream):
                    yield document, done + min(stored_position(stream), stored)
            done += stored
        for name in self.datasets:
            for document in _read_tfds(name):
                yield document, done


def open_corpus(inputs: Sequence[str]) -> Corpus:
    """Resolves globs of .txt, .jsonl (each also .gz) and `tfds:NAME[/CONFIG][:SPLIT]`.

    Args:
      inputs: paths, globs (`**` allowed) or data sets; a file named twice is read once.

    Raises:
      UserError: nothing given, a path or glob without a file, an unknown ending, empty files.
    """
    if isinstance(inputs, str):
        inputs = [inputs]
    if not inputs or not all(inputs):
        raise UserError("no input given; name text files, e.g. 'texts/*.txt' or 'texts/*.jsonl.gz'")
    files: set[str] = set()
    datasets: set[str] = set()
    for pattern in inputs:
        if pattern.startswith(TFDS_PREFIX):
            datasets.add(pattern)
        else:
            files.update(_matches(pattern))
    corpus = Corpus(tuple(sorted(files)), tuple(sorted(datasets)))
    if not datasets and corpus.total_bytes == 0:
        raise UserError(f"{_some(corpus.files)}: empty, there is no text to read")
    return corpus


def inputs_identity(inputs: Sequence[str]) -> dict[str, str | int]:
    """See `Corpus.identity`; folders do not count, so a corpus may be moved."""
    sizes = [os.path.getsize(i) if os.path.exists(i) else 0 for i in inputs]
    described = "\n".join(f"{os.path.basename(i)} {size}" for i, size in zip(inputs, sizes))
    digest = hashlib.sha256(described.encode("utf-8", "surrogateescape")).hexdigest()
    return {"files": len(inputs), "bytes": sum(sizes), "digest": digest[:16]}


def _matches(pattern: str) -> list[str]:
    pattern = os.path.expanduser(pattern)
    if os.path.isdir(pattern):
        raise UserError(f"{pattern} is a folder; name its files, e.g. '{pattern}/*.txt'")
    if os.path.exists(pattern):
        matches = [pattern]
    elif glob.has_magic(pattern):
        matches = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
        if not matches:
            raise UserError(f"no file matches '{pattern}'")
    else:
        raise UserError(f"{pattern} does not exist")
    for path in matches:
        _format_of(path)
    return matches


def _format_of(path: str) -> str:
    ending = path.removesuffix(".gz").rpartition(".")[2].lower()
    if ending not in _FORMATS:
        raise UserError(
            f"{path}: unknown kind of file; text is read from .txt (documents separated by blank "
            'lines) and .jsonl (a "text" field in each line), each also as .gz'
        )
    return ending


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"


def _is_blank(line: bytes) -> bool:
    if not line.strip():
        return True
    # A line may hold nothing but wide or no-break spaces; such a line is short.
    return len(line) <= 64 and line[0] >= 0x80 and not line.decode("utf-8", "replace").strip()


def _read_txt(path: str, stream: Stream) -> Iterator[RawDocument]:
    lines: list[bytes] = []
    size = first = begin = 0
    for number, offset, line in numbered_lines(path, stream, LINE_LIMIT, _TOO_LONG):
        blank = _is_blank(line)
        if lines and (blank or size + len(line) > DOCUMENT_LIMIT):
            yield RawDocument(path, "txt", first, begin, b"".join(lines))
            lines, size = [], 0
        if not blank:
            if not lines:
                first, begin = number, offset
            lines.append(line)
            size += len(line)
    if lines:
        yield RawDocument(path, "txt", first, begin, b"".join(lines))


def _read_jsonl(path: str, stream: Stream) -> Iterator[RawDocument]:
    for number, offset, line in numbered_lines(path, stream, LINE_LIMIT, _TOO_LONG):
        if line.strip():
            yield RawDocument(path, "jsonl", number, offset, line)


def _read_tfds(name: str) -> Iterator[RawDocument]:
    """Texts of `tfds:NAME[/CONFIG][:SPLIT]` (split `train` unless named), in stored order.

    The feature `text` is read, or the only text feature where there is no `text`.
    """
    features, examples = open_dataset(name)
    feature = _text_feature(name, features)
    for number, example in enumerate(examples, start=1):
        yield RawDocument(f"{name} example {number}", "tfds", 1, 0, example[feature])


def _text_feature(name: str, features) -> str:
    import tensorflow_datasets as tfds

    texts = [key for key, value in features.items() if isinstance(value, tfds.features.Text)]
    if "text" in texts:
        return "text"
    if len(texts) == 1:
        return texts[0]
    raise UserError(
        f'{name} has no feature "text" and not exactly one text feature (it has: '
        f"{', '.join(features)})"
    )
