"""Token frequencies: as a generator that knows nothing else, and their entropy, the masked-LM loss
of such a one."""

from __future__ import annotations

from typing import Any

import numpy as np

from electra_jax.data.rows import Rows
from electra_jax.objectives.row_structure import SpecialIds


def unigram_entropy(rows: Rows) -> float:
    """Entropy in nats of a split's token frequencies, padding, [CLS], [SEP] and [MASK] left out:
    the loss that a generator which knows only frequencies can reach."""
    counts = rows.token_counts()
    counts[[rows.special_ids[n] for n in ("pad", "cls", "sep", "mask")]] = 0
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log(share)).sum())


def log_frequencies(counts: np.ndarray, special: SpecialIds) -> tuple[float, ...]:
    """The log of every token's share [V], each counted once more than in `counts` [V]; next to
    nothing for padding, [CLS], [SEP] and [MASK]."""
    counted = np.asarray(counts, np.float64) + 1
    counted[[special.pad, special.cls, special.sep, special.mask]] = 0
    share = counted / counted.sum()
    return tuple(np.where(share > 0, np.log(np.maximum(share, 1e-300)), -1e4).tolist())


def unigram_block(held_out: Rows, metric: str) -> dict[str, Any]:
    """A block of the report: the entropy as a line in the chart of a masked-LM loss."""
    entropy = unigram_entropy(held_out)
    return {"title": "unigram entropy, held out", "reference": {metric: entropy}}
