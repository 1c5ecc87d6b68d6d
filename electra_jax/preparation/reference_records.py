"""The original code's pretraining data (`pretrain_data.tfrecord-*`) → a rows folder."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from electra_jax.data.row_format import (
    TOKENIZER_FOLDER,
    Split,
    check_eval_fraction,
    describe_rows,
    held_out,
    row_statistics,
    rows_dtype,
)
from electra_jax.errors import UserError
from electra_jax.messages import message_stream
from electra_jax.preparation.rows_writer import Progress, RowsWriter, disk_errors, finished_rows
from electra_jax.text.corpus import inputs_identity
from electra_jax.text.tokenizers.tokenizer import Tokenizer, load_tokenizer

FEATURES = ("input_ids", "input_mask", "segment_ids")

_BATCH = 1024
_RUN = 32
"""Rows that are held out or kept together: neighbours come from the same documents."""


def read_reference_tfrecords(
    pattern: str | Sequence[str],
    tokenizer: Tokenizer | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    eval_fraction: float = 0.005,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes the examples of the reference's TFRecords as rows, in the order of the sorted files.

    Args:
      pattern: path or glob of the record files, or several.
      tokenizer: the one that made them (its ids and special tokens are checked against them).
      output: rows folder. The length of a row is that of the records.
      eval_fraction: share of the rows that is held out, in runs of 32 rows (the records do not
        tell where documents begin).
      seed: of the held-out choice.
      progress: show a progress bar on stderr.

    Returns:
      The content of rows.json.

    Raises:
      UserError: no file, TensorFlow missing, damaged records, or records of another tokenizer.
    """
    check_eval_fraction(eval_fraction)
    if not isinstance(tokenizer, Tokenizer):
        tokenizer = load_tokenizer(tokenizer)
    files = _files([pattern] if isinstance(pattern, str) else pattern)
    folder = Path(output).expanduser()
    settings = {
        "name": "reference records",
        "seed": seed,
        "eval_fraction": eval_fraction,
        "tokenizer_hash": tokenizer.hash,
        "inputs": inputs_identity(files),
    }
    finished = finished_rows(folder, settings)
    if finished is not None:
        return finished
    batches = _batches(files)
    first = next(batches, None)
    if first is None:
        raise UserError(f"{files[0]}: no records")
    seq_len = first["input_ids"].shape[1]
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(folder / TOKENIZER_FOLDER)
        with RowsWriter(folder, seq_len, rows_dtype(tokenizer.vocab_size), settings) as writer:
            shown = {"file": message_stream(), "disable": not progress}
            with tqdm(desc="prepare", unit=" rows", **shown) as bar:
                for number, batch in enumerate(itertools.chain([first], batches)):
                    bar.update(len(batch["input_ids"]))
                    if number < writer.progress.next_block:  # written before an interruption
                        continue
                    rows = _checked_rows(batch, number * _BATCH, tokenizer)
                    splits = _split(rows, number, seed, eval_fraction)
                    writer.append(_added(writer.progress, splits, tokenizer), splits)
            manifest = describe_rows(tokenizer, "reference", seq_len, seed, settings)
            done = writer.progress
            manifest["statistics"] = row_statistics(done.counts, done.splits, seq_len)
            return writer.finish(manifest)


def _split(rows: np.ndarray, batch: int, seed: int, eval_fraction: float) -> dict[str, np.ndarray]:
    """The rows of a batch by split; runs of `_RUN` rows stay together."""
    runs = -(-len(rows) // _RUN)
    chosen = held_out(seed, eval_fraction, batch * (_BATCH // _RUN), runs)
    chosen = np.repeat(chosen, _RUN)[: len(rows)]
    return {"train": rows[~chosen], "eval": rows[chosen]}


def _files(patterns: Sequence[str]) -> list[str]:
    files: set[str] = set()
    for pattern in patterns:
        pattern = os.path.expanduser(pattern)
        found = [pattern] if os.path.isfile(pattern) else glob.glob(pattern, recursive=True)
        if not found:
            raise UserError(f"no file matches '{pattern}'")
        files.update(found)
    return sorted(files)


def _batches(files: list[str]) -> Iterator[dict[str, np.ndarray]]:
    """Features of the records, up to 1,024 at a time: each [records, length] int64."""
    try:
        import tensorflow as tf
        from google.protobuf.message import DecodeError
    except ImportError:
        raise UserError(
            "reading TFRecords needs TensorFlow: pip install tensorflow-cpu (or prepare from text)"
        ) from None
    records = tf.data.TFRecordDataset(files)
    try:
        head = next(records.take(1).as_numpy_iterator(), None)
        if head is None:
            return
        length = _example_length(tf.train.Example.FromString(head), files[0])
        spec = {name: tf.io.FixedLenFeature([length], tf.int64) for name in FEATURES}
        parsed = records.batch(_BATCH).map(lambda batch: tf.io.parse_example(batch, spec))
        yield from parsed.as_numpy_iterator()
    except (tf.errors.OpError, DecodeError) as error:
        reason = getattr(error, "message", str(error)).splitlines()[0]
        raise UserError(
            f"{', '.join(files[:3])}: not whole TFRecord files of equally long examples ({reason})"
        ) from None


def _example_length(example: Any, file: str) -> int:
    features = example.features.feature
    lengths = {name: len(features[name].int64_list.value) for name in FEATURES}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise UserError(
            f"{file} holds no pretraining examples of the reference (lengths of its features: "
            f"{lengths})"
        )
    return lengths["input_ids"]


def _checked_rows(batch: dict[str, np.ndarray], first: int, tokenizer: Tokenizer) -> np.ndarray:
    """The rows [records, length], padded with this tokenizer's pad id (the reference writes 0)."""
    ids, mask, types = (batch[name] for name in FEATURES)
    special = tokenizer.special_ids
    after = np.cumsum(ids == special.sep, axis=1) - (ids == special.sep)
    problems = {
        "holds an id beyond the vocabulary": ((ids < 0) | (ids >= tokenizer.vocab_size)).any(1),
        "does not begin with the [CLS] of this tokenizer": ids[:, 0] != special.cls,
        "has padding before its end": (np.diff(mask, axis=1) > 0).any(1),
        "has segments that do not change at the first [SEP] of this tokenizer": (
            (types != (after > 0)) & (mask == 1)
        ).any(1),
    }
    for problem, found in problems.items():
        if found.any():
            raise UserError(
                f"record {first + int(found.argmax())} {problem}; give the vocabulary that the "
                "records were made with"
            )
    return np.where(mask == 1, ids, special.pad)


def _added(before: Progress, rows: dict[str, np.ndarray], tokenizer: Tokenizer) -> Progress:
    special = tokenizer.special_ids
    splits = {}
    counts = dict(before.counts)
    for name, part in rows.items():
        old = before.splits[name]
        filled = int((part != special.pad).sum())
        splits[name] = Split(
            rows=old.rows + len(part),
            tokens=old.tokens + filled,
            max_segments=max(old.max_segments, min(1, len(part))),
        )
        text = filled - int(((part == special.cls) | (part == special.sep)).sum())
        unknown = int((part == special.unk).sum())
        for key, count in (("tokens", text), ("unknown_tokens", unknown)):
            counts[key] = counts.get(key, 0) + count
    return Progress(before.next_block + 1, splits, counts)
