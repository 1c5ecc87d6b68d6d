"""Text → a rows folder (`electra-jax prepare`): the one entry, whatever the rows are made from.

The format is described in docs/formats.md and kept in data/row_format.py.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from electra_jax.data.row_format import (
    MANIFEST,
    PACKINGS,
    TOKENIZER_FOLDER,
    Split,
    check_eval_fraction,
    describe_rows,
    row_statistics,
    rows_dtype,
)
from electra_jax.errors import UserError
from electra_jax.preparation.blocks import BlockRows, Packing, available_cores, packed_blocks
from electra_jax.preparation.packing import MIN_SEQ_LEN
from electra_jax.preparation.reference_records import read_reference_tfrecords
from electra_jax.preparation.rows_writer import (
    JOURNAL,
    Progress,
    RowsWriter,
    disk_errors,
    finished_rows,
    read_json,
)
from electra_jax.text.corpus import Corpus, open_corpus
from electra_jax.text.documents import BLANK_LINES, FILES
from electra_jax.text.progress import advance, corpus_bar
from electra_jax.text.separation import AUTO, SEPARATIONS
from electra_jax.text.tokenizers.tokenizer import Tokenizer, load_tokenizer

log = logging.getLogger(__name__)

_CHECKPOINT_BLOCKS = 16
"""Blocks (of 4 MiB of text) between two entries in the journal."""


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
    reference_tfrecords: bool = False,
    do_lower_case: bool | None = None,
    documents: str = AUTO,
    field: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Tokenizes and packs text into the rows that `pretrain` reads.

    The rows depend on all arguments but `workers` and `progress`. A repeated call continues an
    interrupted one, and does nothing where the folder is finished.

    Args:
      inputs: see `open_corpus`; or the original code's record files (names with ".tfrecord"), whose
        row length and packing are kept (see `read_reference_tfrecords`).
      tokenizer: a Tokenizer or the path of one.
      output: rows folder.
      seq_len: token ids in a row, special tokens and padding included.
      packing: "full" (every token is used) or "reference" (as the original code).
      workers: processes (None: one for each core that this process may use).
      eval_fraction: share of the documents that is held out.
      seed: of the held-out choice and of the random choices of "reference".
      max_segments: with "full": most documents that share one row.
      split_sentences: with "full": a segment of several lines is split into sentences A and B.
      reference_tfrecords: the inputs are record files, whatever their names.
      do_lower_case: of a vocabulary that comes without its settings (see `load_tokenizer`).
      documents: how those of .txt files are told apart (see `open_corpus`). "auto" means for a
        folder that is there already what the folder was made with.
      field: the field, column or feature with the text (see `open_corpus`).
      progress: show a progress bar on stderr.

    Returns:
      The content of rows.json.

    Raises:
      UserError: bad input text, settings that make no rows, a folder that cannot be written or that
        holds something else.
    """
    inputs = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(tokenizer, Tokenizer):
        tokenizer = load_tokenizer(tokenizer, do_lower_case=do_lower_case)
    if reference_tfrecords or any(map(_names_records, inputs)):
        if not reference_tfrecords:
            _refuse_mixed(inputs)
        return read_reference_tfrecords(
            inputs, tokenizer, output, eval_fraction=eval_fraction, seed=seed, progress=progress
        )
    rule = Packing(packing, seq_len, seed, eval_fraction, max_segments, split_sentences)
    _check(rule, workers)
    folder = Path(output).expanduser()
    corpus = open_corpus(inputs, documents=documents, field=field)
    if documents == AUTO:
        corpus = _as_recorded(corpus, tokenizer, folder, rule)
    return _prepare_text(corpus, tokenizer, folder, rule, workers, progress)


def _names_records(pattern: str) -> bool:
    return ".tfrecord" in os.path.basename(pattern)


def _refuse_mixed(inputs: Sequence[str]) -> None:
    text = [pattern for pattern in inputs if not _names_records(pattern)]
    if text:
        raise UserError(
            f"record files and text ({text[0]}) cannot be mixed; prepare each by itself"
        )


def _prepare_text(
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: Path,
    rule: Packing,
    workers: int | None,
    progress: bool,
) -> dict[str, Any]:
    settings = _settings(corpus, tokenizer, rule)
    finished = finished_rows(folder, settings)
    if finished is not None:
        _refuse_newer_inputs(corpus, folder)
        return finished
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(folder / TOKENIZER_FOLDER)
        journal_settings = {**settings, "changed": corpus.newest_change()}
        dtype = rows_dtype(tokenizer.vocab_size)
        with RowsWriter(folder, rule.seq_len, dtype, journal_settings) as writer:
            _write_blocks(writer, corpus, tokenizer, folder, rule, workers, progress)
            manifest = describe_rows(tokenizer, rule.name, rule.seq_len, rule.seed, settings)
            done = writer.progress
            manifest["statistics"] = row_statistics(done.counts, done.splits, rule.seq_len)
            manifest = writer.finish(manifest)
    if rule.eval_fraction and "eval" not in manifest["splits"]:
        _warn_without_evaluation(corpus, done.counts["documents"])
    return manifest


def _settings(corpus: Corpus, tokenizer: Tokenizer, rule: Packing) -> dict[str, Any]:
    """Everything that decides the rows."""
    return {
        **asdict(rule),
        "tokenizer_hash": tokenizer.hash,
        "inputs": corpus.identity(),
        **corpus.reading(),
    }


def _as_recorded(corpus: Corpus, tokenizer: Tokenizer, folder: Path, rule: Packing) -> Corpus:
    """The corpus, read as for the rows in `folder` where all other settings are theirs."""
    for name in (MANIFEST, JOURNAL):
        recorded = (read_json(folder / name) or {}).get("settings") or {}
        separation = recorded.get("documents", BLANK_LINES)
        if recorded and separation in SEPARATIONS:
            as_before = replace(corpus, separation=separation)
            if _settings(as_before, tokenizer, rule) == _without(recorded, "changed"):
                if as_before != corpus:
                    log.warning("note: %s was begun with --documents=%s", folder, separation)
                return as_before
    return corpus


def _without(settings: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != key}


def _warn_without_evaluation(corpus: Corpus, documents: int) -> None:
    if documents == 1 and any(path.removesuffix(".gz").endswith(".txt") for path in corpus.files):
        how = {BLANK_LINES: "blank lines separate those of a .txt", FILES: "each .txt is one"}
        log.warning(
            "the input is one document, so nothing is held out for evaluation: %s "
            "(--documents=lines: each line is one)",
            how.get(corpus.separation, "it has one line"),
        )
    else:
        log.warning(
            "nothing is held out for evaluation: of %d document(s) the first is for training, and "
            "those held out have no text",
            documents,
        )


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
    bar = corpus_bar("prepare", corpus, progress)
    with bar:
        # Until the first block is through, the bar stands at 0 %.
        workers = workers or available_cores()
        bar.set_postfix_str("reading the first text, starting processes")
        blocks = corpus.blocks(skip=writer.progress.next_block)
        saved = folder / TOKENIZER_FOLDER
        for block in packed_blocks(blocks, tokenizer, saved, rule, workers):
            rows = {name: packed.rows for name, packed in block.packed.items()}
            writer.append(_added(writer.progress, block), rows)
            if writer.progress.next_block % _CHECKPOINT_BLOCKS == 0:
                writer.checkpoint()
            advance(bar, block.position, writer.progress.counts["documents"])
            bar.set_postfix_str(f"{writer.progress.splits['train'].rows:,} rows", refresh=False)
    done = writer.progress
    if not done.counts.get("tokens"):
        raise UserError("the input holds only whitespace: there is nothing to make rows of")
    if not done.splits["train"].rows:
        raise UserError(
            f"too little text: {done.counts['documents']} documents leave no row for training; "
            "give more text or a smaller --eval_fraction"
        )


def _added(before: Progress, block: BlockRows) -> Progress:
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
