"""Entropy of token frequencies: the masked-LM loss of a network that knows nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

from electra_jax.data.rows import Rows


def unigram_entropy(rows: Rows) -> float:
    """Entropy in nats of a split's token frequencies, padding, [CLS], [SEP] and [MASK] left out:
    the loss that a generator which knows only frequencies can reach."""
    counts = np.zeros(rows.vocab_size, np.int64)
    for start in range(0, rows.count, 4096):
        ids = rows.take(np.arange(start, min(start + 4096, rows.count)))
        counts += np.bincount(ids.reshape(-1), minlength=rows.vocab_size)
    counts[[rows.special_ids[n] for n in ("pad", "cls", "sep", "mask")]] = 0
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log(share)).sum())


def unigram_block(held_out: Rows, metric: str) -> dict[str, Any]:
    """A block of the report: the entropy as a line in the chart of a masked-LM loss."""
    entropy = unigram_entropy(held_out)
    return {"title": "unigram entropy, held out", "reference": {metric: entropy}}
