"""Text → a rows folder (`electra-jax prepare`). The format is described in ARCHITECTURE.md."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from electra_jax.errors import UserError
from electra_jax.preparation.packing import MIN_SEQ_LEN, Packed, pack_full, pack_reference
from electra_jax.preparation.rows_writer import (
    FORMAT,
    JOURNAL,
    MANIFEST,
    SPLITS,
    Progress,
    RowsWriter,
    Split,
    disk_errors,
    read_json,
)
from electra_jax.text.corpus import Block, Corpus, open_corpus
from electra_jax.text.draws import uniform
from electra_jax.text.tokenizer import Tokenizer, load_tokenizer

PACKINGS = ("full", "reference")

_EVAL_STREAM = 2
_CHECKPOINT_BLOCKS = 16
"""Blocks (of 4 MiB of text) between two entries in the journal."""


@dataclass(frozen=True)
class Packing:
    """How documents become rows."""

    name: str
    seq_len: int
    seed: int
    eval_fraction: float
    max_segments: int | None
    split_sentences: bool


@dataclass(frozen=True)
class _BlockRows:
    """One block's rows by split, and its counts for the statistics."""

    position: int
    packed: dict[str, Packed]
    documents: dict[str, int]
    counts: dict[str, int]


def prepare(
    inputs: Sequence[str],
    tokenizer: Tokenizer | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    seq_len: int = 128,
    packing: str = "full",
    workers: int | None = None,
    eval_fraction: float = 0.005,
    seed: int = 0,
    max_segments: int | None = None,
    split_sentences: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Tokenizes and packs text into the rows that `pretrain` reads.

    The rows depend on everything here but `workers` and `progress`. Run again after an interruption
    it goes on; run again on a finished folder it does nothing.

    Args:
      inputs: see `open_corpus`; or the original code's record files (names with ".tfrecord"), whose
        length of a row and packing are kept (see `read_reference_tfrecords`).
      tokenizer: a Tokenizer or the path of one.
      output: rows folder.
      seq_len: token ids in a row, special tokens and padding included.
      packing: "full" (every token is used) or "reference" (as the original code).
      workers: processes (None: one for each core that this process may use).
      eval_fraction: share of the documents that is held out.
      seed: of the held-out choice and of the draws of "reference".
      max_segments: with "full": most documents that share one row.
      split_sentences: with "full": pieces of several lines become two segments A and B.
      progress: show a progress bar on stderr.

    Returns:
      The content of rows.json.

    Raises:
      UserError: bad input text, settings that make no rows, a folder that cannot be written or that
        holds something else.
    """
    inputs = [inputs] if isinstance(inputs, str) else inputs
    if any(".tfrecord" in os.path.basename(pattern) for pattern in inputs):
        return _prepare_records(inputs, tokenizer, output, eval_fraction, seed, progress)
    rule = Packing(packing, seq_len, seed, eval_fraction, max_segments, split_sentences)
    _check(rule, workers)
    if not isinstance(tokenizer, Tokenizer):
        tokenizer = load_tokenizer(tokenizer)
    corpus = open_corpus(inputs)
    folder = Path(output).expanduser()
    settings = {
        **asdict(rule),
        "tokenizer_hash": tokenizer.hash,
        "inputs": corpus.identity(),
    }
    finished = finished_rows(folder, settings)
    if finished is not None:
        _refuse_newer_inputs(corpus, folder)
        return finished
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(folder / "tokenizer")
        journal_settings = {**settings, "changed": corpus.newest_change()}
        dtype = rows_dtype(tokenizer.vocab_size)
        with RowsWriter(folder, seq_len, dtype, journal_settings) as writer:
            _write_blocks(writer, corpus, tokenizer, folder, rule, workers, progress)
            manifest = describe_rows(tokenizer, rule.name, seq_len, seed, settings)
            manifest["statistics"] = row_statistics(writer.progress, seq_len)
            return writer.finish(manifest)


def _prepare_records(
    inputs: Sequence[str],
    tokenizer: Tokenizer | str | os.PathLike[str],
    output: str | os.PathLike[str],
    eval_fraction: float,
    seed: int,
    progress: bool,
) -> dict[str, Any]:
    from electra_jax.preparation.reference_records import read_reference_tfrecords

    text = [pattern for pattern in inputs if ".tfrecord" not in os.path.basename(pattern)]
    if text:
        raise UserError(
            f"record files and text ({text[0]}) cannot be mixed; prepare each by itself"
        )
    return read_reference_tfrecords(
        inputs, tokenizer, output, eval_fraction=eval_fraction, seed=seed, progress=progress
    )


def rows_dtype(vocab_size: int) -> str:
    """Smallest unsigned type that holds every id."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


def describe_rows(
    tokenizer: Tokenizer, packing: str, seq_len: int, seed: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """The head of rows.json."""
    return {
        "format": FORMAT,
        "seq_len": seq_len,
        "dtype": rows_dtype(tokenizer.vocab_size),
        "vocab_size": tokenizer.vocab_size,
        "packing": packing,
        "seed": seed,
        "special_ids": asdict(tokenizer.special_ids),
        "tokenizer_hash": tokenizer.hash,
        "settings": settings,
    }


def finished_rows(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """rows.json of a finished folder made with `settings`; None where rows are still to be made.

    Raises UserError where the folder holds other rows or other files.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another --output")
    manifest = read_json(folder / MANIFEST)
    if manifest is not None:
        found = manifest.get("settings", {})
        differences = [
            f"{key} was {_shown(found.get(key))}, is now {_shown(settings.get(key))}"
            for key in sorted({*found, *settings})
            if found.get(key) != settings.get(key)
        ]
        if differences:
            raise UserError(
                f"{folder} holds finished rows made with other settings ({'; '.join(differences)});"
                " choose another --output, or delete it first"
            )
        return manifest
    ours = (JOURNAL, "tokenizer", *(f"{split}-" for split in SPLITS), ".")
    others = [p.name for p in folder.iterdir()] if folder.exists() else []
    strange = sorted(name for name in others if not name.startswith(ours))
    if strange:
        raise UserError(
            f"{folder} is not a rows folder (it holds {', '.join(strange[:3])}); choose another "
            "--output"
        )
    return None


def _check(rule: Packing, workers: int | None) -> None:
    if rule.name not in PACKINGS:
        raise UserError(f"unknown packing '{rule.name}'; choose one of {', '.join(PACKINGS)}")
    if rule.seq_len < MIN_SEQ_LEN:
        raise UserError(f"seq_len is {rule.seq_len}; the shortest possible is {MIN_SEQ_LEN}")
    check_eval_fraction(rule.eval_fraction)
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; it must be at least 1")
    if rule.max_segments is not None and rule.max_segments < 1:
        raise UserError(f"max_segments is {rule.max_segments}; it must be at least 1")
    if rule.name == "reference" and (rule.max_segments is not None or rule.split_sentences):
        raise UserError("max_segments and split_sentences belong to packing=full")


def check_eval_fraction(eval_fraction: float) -> None:
    """Refuses a share that is none, or that leaves nothing for training."""
    if not 0 <= eval_fraction < 1:
        raise UserError(f"eval_fraction is {eval_fraction}; it must be in [0, 1)")


def _shown(value: Any) -> str:
    if isinstance(value, dict):  # inputs
        return "{files} files of {bytes} bytes (digest {digest})".format(**value)
    return str(value)


def _refuse_newer_inputs(corpus: Corpus, folder: Path) -> None:
    if corpus.newest_change() > (folder / MANIFEST).stat().st_mtime_ns:
        raise UserError(
            f"{folder} holds finished rows, but an input has been changed since; choose another "
            "--output, or delete it first"
        )


def _write_blocks(
    writer: RowsWriter,
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: Path,
    rule: Packing,
    workers: int | None,
    progress: bool,
) -> None:
    bar = tqdm(
        desc="prepare", total=corpus.total_bytes, unit="B", unit_scale=True, disable=not progress
    )
    with bar:
        blocks = corpus.blocks(skip=writer.progress.next_block)
        for block in _packed_blocks(blocks, tokenizer, folder, rule, workers or available_cores()):
            rows = {name: packed.rows for name, packed in block.packed.items()}
            writer.append(_added(writer.progress, block), rows)
            if writer.progress.next_block % _CHECKPOINT_BLOCKS == 0:
                writer.checkpoint()
            bar.update(block.position - bar.n)
            bar.set_postfix_str(f"{writer.progress.splits['train'].rows:,} rows", refresh=False)
    done = writer.progress
    if not done.counts.get("tokens"):
        raise UserError("the input holds only whitespace: there is nothing to make rows of")
    if not done.splits["train"].rows:
        raise UserError(
            f"too little text: {done.counts['documents']} documents leave no row for training; "
            "give more text or a smaller --eval_fraction"
        )


def _added(before: Progress, block: _BlockRows) -> Progress:
    splits = {}
    for name, packed in block.packed.items():
        split = before.splits[name]
        splits[name] = Split(
            rows=split.rows + len(packed.rows),
            tokens=split.tokens + packed.filled,
            max_segments=max(split.max_segments, packed.max_segments),
            documents=split.documents + block.documents[name],
        )
    counts = {key: before.counts.get(key, 0) + count for key, count in block.counts.items()}
    return Progress(before.next_block + 1, splits, counts)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _packed_blocks(
    blocks: Iterator[Block], tokenizer: Tokenizer, folder: Path, rule: Packing, workers: int
) -> Iterator[_BlockRows]:
    """Every block's rows, in order. Few blocks are in flight, so memory stays bounded."""
    head = [block for _, block in zip(range(2), blocks)]
    if workers == 1 or len(head) < 2:  # starting processes would take longer than the work
        with _one_thread():
            for block in _chained(head, blocks):
                yield pack_block(block, tokenizer, rule)
        return
    # Not forked: the parent may have threads (JAX, tokenizers) that a fork would break.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, context, initializer=_start_worker, initargs=(str(folder / "tokenizer"), rule)
    )
    pending: deque[Future[_BlockRows]] = deque()
    try:
        for block in _chained(head, blocks):
            pending.append(pool.submit(_work, block))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool:
        raise UserError(
            "a worker process died, most likely for lack of memory; use fewer --workers and run "
            "the same command again: it goes on from there"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chained(head: list[Block], rest: Iterator[Block]) -> Iterator[Block]:
    yield from head
    yield from rest


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


_worker: tuple[Tokenizer, Packing]


def _start_worker(tokenizer_folder: str, rule: Packing) -> None:
    global _worker
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    _worker = load_tokenizer(tokenizer_folder), rule


def _work(block: Block) -> _BlockRows:
    return pack_block(block, *_worker)


def pack_block(block: Block, tokenizer: Tokenizer, rule: Packing) -> _BlockRows:
    """Tokenizes and packs one block: a pure function of its arguments."""
    documents = [document.lines() for document in block.documents]
    lines = [line for document in documents for line in document]
    ids, line_lengths = tokenizer.encode_flat(lines)
    lines_of = np.fromiter(map(len, documents), np.int64, len(documents))
    chosen = held_out(rule.seed, rule.eval_fraction, block.first_document, len(documents))
    packed = {}
    for name, mine in (("train", ~chosen), ("eval", chosen)):
        my_lines = np.repeat(mine, lines_of)
        my_ids = ids[np.repeat(my_lines, line_lengths)]
        packed[name] = _pack(
            my_ids, line_lengths[my_lines], lines_of[mine], block.index, name, tokenizer, rule
        )
    counts = {
        "documents": len(documents),
        "characters": sum(map(len, lines)),
        "tokens": len(ids),
        "tokens_dropped": sum(p.dropped for p in packed.values()),
        "unknown_tokens": int((ids == tokenizer.special_ids.unk).sum()),
    }
    split_documents = {"train": int((~chosen).sum()), "eval": int(chosen.sum())}
    dtype = rows_dtype(tokenizer.vocab_size)  # half of what has to travel between processes
    small = {name: _with_rows(p, p.rows.astype(dtype)) for name, p in packed.items()}
    return _BlockRows(block.position, small, split_documents, counts)


def _with_rows(packed: Packed, rows: np.ndarray) -> Packed:
    return Packed(rows, packed.tokens, packed.dropped, packed.filled, packed.max_segments)


def _pack(
    ids: np.ndarray,
    line_lengths: np.ndarray,
    document_lines: np.ndarray,
    block: int,
    split: str,
    tokenizer: Tokenizer,
    rule: Packing,
) -> Packed:
    if rule.name == "reference":
        draws = random.Random(f"{rule.seed}/{block}/{split}")
        return pack_reference(
            ids, line_lengths, document_lines, rule.seq_len, tokenizer.special_ids, draws
        )
    # Lines of document d are those up to ends[d].
    ends = np.concatenate([[0], np.cumsum(line_lengths)])[np.cumsum(document_lines)]
    return pack_full(
        ids,
        np.diff(ends, prepend=0),
        rule.seq_len,
        tokenizer.special_ids,
        max_segments=rule.max_segments,
        sentence_lengths=line_lengths if rule.split_sentences else None,
    )


def held_out(seed: int, fraction: float, first: int, count: int) -> np.ndarray:
    """Which of the documents `first` … `first + count - 1` are held out: [count] bool.

    Each is a pure function of (seed, number). The first document never is and the second always,
    so that a corpus of two has both splits.
    """
    numbers = np.arange(first, first + count)
    if fraction == 0:
        return np.zeros(count, bool)
    drawn = uniform(seed, _EVAL_STREAM, first, count) < fraction
    return np.where(numbers < 2, numbers == 1, drawn)


def row_statistics(done: Progress, seq_len: int) -> dict[str, Any]:
    """The statistics of rows.json."""
    rows = sum(split.rows for split in done.splits.values())
    filled = sum(split.tokens for split in done.splits.values())
    return {
        **done.counts,
        "unknown_rate": done.counts["unknown_tokens"] / done.counts["tokens"],
        "rows": rows,
        "fill_rate": filled / (rows * seq_len),
        "max_segments": max(split.max_segments for split in done.splits.values()),
    }
