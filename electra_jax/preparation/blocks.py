"""Blocks of documents → packed rows, in this process or in several, in the order of the corpus."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from electra_jax.data.row_format import held_out, rows_dtype
from electra_jax.errors import UserError
from electra_jax.preparation.packing import Packed, pack_full, pack_reference
from electra_jax.text.corpus import Block
from electra_jax.text.tokenizers.tokenizer import Tokenizer, load_tokenizer


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
class BlockRows:
    """One block's rows by split, and its counts for the statistics."""

    position: int
    packed: dict[str, Packed]
    documents: dict[str, int]
    counts: dict[str, int]


def packed_blocks(
    blocks: Iterator[Block],
    tokenizer: Tokenizer,
    tokenizer_folder: Path,
    rule: Packing,
    workers: int,
) -> Iterator[BlockRows]:
    """Every block's rows, in order. Few blocks are in flight, so memory stays bounded.

    Args:
      tokenizer_folder: where `tokenizer` is saved; worker processes load it from there.

    Raises:
      UserError: bad text in a block, or a worker process that died.
    """
    head = [block for _, block in zip(range(2), blocks)]
    if workers == 1 or len(head) < 2:  # starting processes would take longer than the work
        with _one_thread():
            for block in _chained(head, blocks):
                yield pack_block(block, tokenizer, rule)
        return
    # Not forked: the parent may have threads (JAX, tokenizers) that a fork would break.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, context, initializer=_start_worker, initargs=(str(tokenizer_folder), rule)
    )
    pending: deque[Future[BlockRows]] = deque()
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


def _work(block: Block) -> BlockRows:
    return pack_block(block, *_worker)


def pack_block(block: Block, tokenizer: Tokenizer, rule: Packing) -> BlockRows:
    """Tokenizes and packs one block: a pure function of its arguments."""
    documents = [document.lines() for document in block.documents]
    lines = [line for document in documents for line in document]
    ids, line_lengths = tokenizer.encode_flat(lines)
    lines_of = np.fromiter(map(len, documents), np.int64, len(documents))
    chosen = held_out(rule.seed, rule.eval_fraction, block.first_document, len(documents))
    packed = {}
    for name, in_split in (("train", ~chosen), ("eval", chosen)):
        kept_lines = np.repeat(in_split, lines_of)
        kept_ids = ids[np.repeat(kept_lines, line_lengths)]
        packed[name] = _pack(
            kept_ids,
            line_lengths[kept_lines],
            lines_of[in_split],
            block.index,
            name,
            tokenizer,
            rule,
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
    small = {name: replace(p, rows=p.rows.astype(dtype)) for name, p in packed.items()}
    return BlockRows(block.position, small, split_documents, counts)


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
        source = random.Random(f"{rule.seed}/{block}/{split}")
        return pack_reference(
            ids, line_lengths, document_lines, rule.seq_len, tokenizer.special_ids, source
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


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
