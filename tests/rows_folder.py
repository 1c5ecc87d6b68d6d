"""Writes a rows folder by hand, so that what reads it is tested without what makes it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

SPECIAL_IDS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}


def write_rows(
    folder: Path,
    train: np.ndarray,
    evaluation: np.ndarray | None = None,
    *,
    vocab_size: int = 1000,
    dtype: str = "uint16",
    rows_in_shard: int = 7,
    **fields: Any,
) -> Path:
    """Writes int [rows, seq_len] arrays as shards of few rows; `fields` override rows.json's."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {}
    for split, rows in (("train", train), ("eval", evaluation)):
        if rows is None:
            continue
        shards = []
        for number, begin in enumerate(range(0, len(rows), rows_in_shard)):
            piece = rows[begin : begin + rows_in_shard].astype(np.dtype(dtype).newbyteorder("<"))
            name = f"{split}-{number:05d}.bin"
            (folder / name).write_bytes(piece.tobytes())
            digest = hashlib.sha256(piece.tobytes()).hexdigest()
            shards.append({"file": name, "rows": len(piece), "sha256": digest})
        splits[split] = {
            "rows": len(rows),
            "tokens": int((rows != SPECIAL_IDS["pad"]).sum()),
            "max_segments": 1,
            "documents": len(rows),
            "shards": shards,
        }
    header = {
        "format": 1,
        "seq_len": train.shape[1],
        "dtype": dtype,
        "vocab_size": vocab_size,
        "packing": "full",
        "seed": 0,
        "special_ids": SPECIAL_IDS,
        "tokenizer_hash": "a-tokenizer",
        "fingerprint": hashlib.sha256(train.tobytes()).hexdigest(),
        "splits": splits,
        "statistics": {},
        **fields,
    }
    (folder / "rows.json").write_text(json.dumps(header), encoding="utf-8")
    return folder


def numbered_rows(count: int, seq_len: int = 8) -> np.ndarray:
    """int64 [count, seq_len]: row i begins with [CLS] and ends with two ids that say i."""
    rows = np.full((count, seq_len), 5, dtype=np.int64)
    rows[:, 0] = SPECIAL_IDS["cls"]
    rows[:, -2] = 100 + np.arange(count) // 500
    rows[:, -1] = 100 + np.arange(count) % 500
    return rows


def numbers_of(rows: np.ndarray) -> np.ndarray:
    """The numbers that `numbered_rows` wrote."""
    return (rows[:, -2] - 100) * 500 + rows[:, -1] - 100
