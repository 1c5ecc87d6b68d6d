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
from dataclasses import dataclass, replace

from electra_jax.errors import UserError
from electra_jax.text.datasets import TFDS_PREFIX, open_dataset
from electra_jax.text.documents import (
    BLANK_LINES,
    TEXT_FIELD,
    RawDocument,
    read_jsonl,
    read_txt,
)
from electra_jax.text.hub_datasets import HUB_PREFIX, open_hub_dataset
from electra_jax.text.lines import open_bytes, stored_position
from electra_jax.text.separation import AUTO, check_separation, find_separation
from electra_jax.text.standard_input import is_stream, stored_stream
from electra_jax.text.tables import missing_column, read_parquet, read_table
from electra_jax.text.unicode import well_formed

BLOCK_BYTES = 4 * 2**20
BLOCK_DOCUMENTS = 2048
"""A block ends when either is reached."""

READ_WHEN_ABSENT = {"documents": BLANK_LINES, "field": TEXT_FIELD}
"""The values of `Corpus.reading` that it leaves out."""

_FORMATS = ("txt", "jsonl", "csv", "tsv", "parquet")


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
    """An ordered set of inputs: files sorted by path, then data sets sorted by name.

    `separation` says how documents of .txt files are told apart, `field` which field, column or
    feature of all others holds the text (None: `text`, or the only one that could).
    """

    files: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    separation: str = BLANK_LINES
    field: str | None = None

    @property
    def total_bytes(self) -> int:
        """Bytes of all files as stored (compressed size for .gz); data sets count as 0."""
        return sum(os.path.getsize(path) for path in self.files)

    def identity(self) -> dict[str, str | int]:
        """Number, stored size and a digest of names and sizes: changes when the corpus does."""
        return inputs_identity([*self.files, *self.datasets])

    def reading(self) -> dict[str, str]:
        """What beside the inputs decides the documents, as rows.json records it; values of
        `READ_WHEN_ABSENT` are left out."""
        settings = {"documents": self.separation, "field": self.field or TEXT_FIELD}
        return {key: value for key, value in settings.items() if value != READ_WHEN_ABSENT[key]}

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
            for document, position in self._documents_of(path):
                yield document, done + position
            done += os.path.getsize(path)
        for name in self.datasets:
            reader = _read_hub if name.startswith(HUB_PREFIX) else _read_tfds
            for document in reader(name, self.field):
                yield document, done

    def _documents_of(self, path: str) -> Iterator[tuple[RawDocument, int]]:
        """Documents of a file, each with how many of its stored bytes have been read."""
        kind, stored = _format_of(path), os.path.getsize(path)
        if kind == "parquet":
            for document, share in read_parquet(path, self.field):
                yield document, int(share * stored)
            return
        with open_bytes(path) as stream:
            if kind == "jsonl":
                documents = read_jsonl(path, stream, self.field or TEXT_FIELD)
            elif kind == "txt":
                documents = read_txt(path, stream, self.separation)
            else:
                documents = read_table(path, stream, kind, self.field)
            for document in documents:
                yield document, min(stored_position(stream), stored)


def open_corpus(
    inputs: Sequence[str], *, documents: str = BLANK_LINES, field: str | None = None
) -> Corpus:
    """Resolves globs of .txt, .jsonl, .csv and .tsv (each also .gz) and .parquet, `-` and pipes,
    `tfds:NAME[/CONFIG][:SPLIT]` and `hf:NAME[/CONFIG][:SPLIT]`.

    Args:
      inputs: paths, globs (`**` allowed) or data sets; a file named twice is read once.
      documents: of .txt: "blank_lines" between them, "lines": one a line, "files": one a file;
        "auto" looks at the files and logs what it found.
      field: of the other formats: where the text is.

    Raises:
      UserError: nothing given, a path or glob without a file, an unknown ending, empty files.
    """
    check_separation(documents)
    if isinstance(inputs, str):
        inputs = [inputs]
    if not inputs or not all(inputs):
        raise UserError("no input given; name text files, e.g. 'texts/*.txt' or 'texts/*.jsonl.gz'")
    files: set[str] = set()
    datasets: set[str] = set()
    for pattern in inputs:
        if pattern.startswith((TFDS_PREFIX, HUB_PREFIX)):
            datasets.add(pattern)
        else:
            files.update(_matches(pattern))
    corpus = Corpus(tuple(sorted(files)), tuple(sorted(datasets)), BLANK_LINES, field)
    if not datasets and corpus.total_bytes == 0:
        raise UserError(f"{_some(corpus.files)}: empty, there is no text to read")
    texts = [path for path in corpus.files if _format_of(path) == "txt"]
    if documents == AUTO:
        documents = find_separation(texts)
    return replace(corpus, separation=documents)


def inputs_identity(inputs: Sequence[str]) -> dict[str, str | int]:
    """See `Corpus.identity`; folders do not count, so a corpus may be moved."""
    sizes = [os.path.getsize(i) if os.path.exists(i) else 0 for i in inputs]
    described = "\n".join(f"{os.path.basename(i)} {size}" for i, size in zip(inputs, sizes))
    digest = hashlib.sha256(described.encode("utf-8", "surrogateescape")).hexdigest()
    return {"files": len(inputs), "bytes": sum(sizes), "digest": digest[:16]}


def _matches(pattern: str) -> list[str]:
    if is_stream(pattern):
        return [stored_stream(pattern)]
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
    if ending not in _FORMATS or (ending == "parquet" and path.endswith(".gz")):
        raise UserError(
            f'{path}: unknown kind of file; text is read from .txt, .jsonl (a "text" field in each '
            'line), .csv, .tsv (a "text" column), each also as .gz, and .parquet'
        )
    return ending


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"


def _read_tfds(name: str, field: str | None) -> Iterator[RawDocument]:
    """Texts of `tfds:NAME[/CONFIG][:SPLIT]` (split `train` unless named), in stored order."""
    import tensorflow_datasets as tfds

    features, examples = open_dataset(name)
    texts = [key for key, value in features.items() if isinstance(value, tfds.features.Text)]
    feature = _text_feature(name, list(features), texts, field)
    for number, example in enumerate(examples, start=1):
        yield RawDocument(f"{name} example {number}", "value", 1, 0, example[feature])


def _read_hub(name: str, field: str | None) -> Iterator[RawDocument]:
    """Texts of `hf:NAME[/CONFIG][:SPLIT]` (split `train` unless named), in stored order."""
    dataset = open_hub_dataset(name)
    feature = _text_feature(name, dataset.columns, dataset.texts, field)
    for number, record in enumerate(dataset.records, start=1):
        data = well_formed(record[feature] or "").encode("utf-8")
        yield RawDocument(f"{name} example {number}", "value", 1, 0, data)


def _text_feature(
    name: str, features: Sequence[str], texts: Sequence[str], field: str | None
) -> str:
    """The feature `field`, else `text`, else the only text feature."""
    if field is not None:
        if field not in features:
            raise missing_column(name, features, field)
        if field not in texts:
            raise UserError(f'{name}: the feature "{field}" holds no text')
        return field
    if TEXT_FIELD in texts:
        return TEXT_FIELD
    if len(texts) == 1:
        return texts[0]
    raise UserError(
        f'{name} has no feature "text" and not exactly one text feature (it has: '
        f"{', '.join(features)}); --field=NAME names it"
    )
