"""The format of a rows folder, described in docs/formats.md: names, types and the fields of
rows.json, for its writers (preparation/) and its reader (rows.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from electra_jax.errors import UserError
from electra_jax.text.keyed_random import uniform
from electra_jax.text.tokenizers.special_ids import ROLES

if TYPE_CHECKING:
    from electra_jax.text.tokenizers.tokenizer import Tokenizer

FORMAT = 1
MANIFEST = "rows.json"
TOKENIZER_FOLDER = "tokenizer"
SPLITS = ("train", "eval")
PACKINGS = ("full", "reference")
DTYPES: dict[str, np.dtype[Any]] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}

_HELD_OUT_STREAM = 2


@dataclass
class Split:
    """Totals of one split."""

    rows: int = 0
    tokens: int = 0  # ids that are not padding
    max_segments: int = 0
    documents: int = 0


def rows_dtype(vocab_size: int) -> str:
    """Name of the smallest unsigned type that holds every id."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


def shard_name(split: str, number: int) -> str:
    """File name of a split's shard; shards are numbered from 0."""
    return f"{split}-{number:05d}.bin"


def describe_rows(
    tokenizer: Tokenizer, packing: str, seq_len: int, seed: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """The fields of rows.json that are known before the first row is written."""
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


def row_statistics(
    counts: Mapping[str, int], splits: Mapping[str, Split], seq_len: int
) -> dict[str, Any]:
    """The statistics of rows.json; `counts` holds at least "tokens" and "unknown_tokens"."""
    rows = sum(split.rows for split in splits.values())
    filled = sum(split.tokens for split in splits.values())
    return {
        **counts,
        "unknown_rate": counts["unknown_tokens"] / counts["tokens"],
        "rows": rows,
        "fill_rate": filled / (rows * seq_len),
        "max_segments": max(split.max_segments for split in splits.values()),
    }


def fingerprint(manifest: Mapping[str, Any], splits: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of everything that defines the rows' content; `splits` is as in rows.json."""
    identity = {
        **{key: manifest[key] for key in ("format", "seq_len", "dtype", "vocab_size")},
        **{key: manifest[key] for key in ("special_ids", "tokenizer_hash")},
        "shards": {name: split["shards"] for name, split in splits.items()},
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode("ascii")).hexdigest()


def check_eval_fraction(eval_fraction: float) -> None:
    """Raises UserError for a share outside [0, 1); 1 would leave nothing for training."""
    if not 0 <= eval_fraction < 1:
        raise UserError(f"eval_fraction is {eval_fraction}; it must be in [0, 1)")


def held_out(seed: int, fraction: float, first: int, count: int) -> NDArray[np.bool_]:
    """Which of the documents `first` … `first + count - 1` are held out: [count] bool.

    Each is a pure function of (seed, number). The first document never is and the second always,
    so that a corpus of two has both splits.
    """
    numbers = np.arange(first, first + count)
    if fraction == 0:
        return np.zeros(count, bool)
    sampled = uniform(seed, _HELD_OUT_STREAM, first, count) < fraction
    return np.where(numbers < 2, numbers == 1, sampled)


def header_problem(header: Mapping[str, Any]) -> str | None:
    """The first fault in the fields of rows.json that concern all splits; None without a fault."""
    for field in ("seq_len", "vocab_size"):
        if not _natural(header.get(field)) or header[field] == 0:
            return f"{field} is {header.get(field)!r}, not a positive number"
    for field in ("packing", "fingerprint", "tokenizer_hash"):
        if not isinstance(header.get(field), str):
            return f"{field} is {header.get(field)!r}, not text"
    if header.get("dtype") not in DTYPES:
        return f"dtype is {header.get('dtype')!r}, not one of {', '.join(DTYPES)}"
    special = header.get("special_ids")
    if not isinstance(special, dict):
        return "special_ids is missing"
    for name in ROLES:
        if not _natural(special.get(name)) or special[name] >= header["vocab_size"]:
            return f"special_ids.{name} is {special.get(name)!r}, not an id of the vocabulary"
    if not isinstance(header.get("splits"), dict):
        return "splits is missing"
    return None


def split_problem(described: Any) -> str | None:
    """The first fault in one split's entry in rows.json; None without a fault."""
    if not isinstance(described, dict):
        return "the entry is not an object"
    for field in ("rows", "tokens", "max_segments"):
        if not _natural(described.get(field)):
            return f"{field} is {described.get(field)!r}, not a number"
    if not isinstance(described.get("shards"), list):
        return "shards is missing"
    for shard in described["shards"]:
        if not isinstance(shard, dict) or not _natural(shard.get("rows")):
            return f"a shard has no number of rows: {shard!r}"
        if not all(isinstance(shard.get(field), str) for field in ("file", "sha256")):
            return f"a shard has no file name or no sha256: {shard!r}"
    return None


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
