"""Metrics as sums over tokens, which add up over microbatches, devices and batches; the ratios are
computed on the host.

A metric travels as (sum, weight); the area under the ROC curve travels as two counts over 200
thresholds, the reference's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

THRESHOLDS = 200
_EPSILON = 1e-7


def auc_thresholds() -> np.ndarray:
    """200 thresholds on the probability: evenly spaced inside (0, 1), a hair outside at both ends;
    float32 [200]."""
    inner = (np.arange(1, THRESHOLDS - 1) / (THRESHOLDS - 1)).astype(np.float32)
    return np.concatenate([[-_EPSILON], inner, [1 + _EPSILON]]).astype(np.float32)


def auc_counts(
    probabilities: jax.Array, labels: jax.Array, weights: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Weighted counts of positives and of negatives above each threshold: two float32 [200]."""
    bins = jnp.searchsorted(jnp.asarray(auc_thresholds()), probabilities.reshape(-1))
    labels, weights = (x.astype(jnp.float32).reshape(-1) for x in (labels, weights))
    positive, negative = (
        jnp.zeros(THRESHOLDS + 1, jnp.float32).at[bins].add(counted)
        for counted in (labels * weights, (1 - labels) * weights)
    )
    # A probability in bin k is above the first k thresholds.
    return jnp.cumsum(positive[::-1])[::-1][1:], jnp.cumsum(negative[::-1])[::-1][1:]


def auc(true_positives: np.ndarray, false_positives: np.ndarray) -> float:
    """Area under the ROC curve by trapezoids (as the reference's metric); nan where a class is
    empty."""
    tp, fp = (np.asarray(x, np.float64) for x in (true_positives, false_positives))
    if tp[0] <= 0 or fp[0] <= 0:
        return float("nan")
    tpr, fpr = tp / tp[0], fp / fp[0]
    return float(np.sum((fpr[:-1] - fpr[1:]) * (tpr[:-1] + tpr[1:]) / 2))


def binary_entropy(rate: float) -> float:
    """−p ln p − (1 − p) ln(1 − p) in nats; 0 at both ends."""
    if not 0 < rate < 1:
        return 0.0
    return float(-rate * np.log(rate) - (1 - rate) * np.log1p(-rate))


def rtd_skill(discriminator_loss: float, replaced_rate: float) -> float:
    """1 − L_D / H(replaced rate): 0 at the majority plateau, 1 perfect; nan where nothing was
    replaced."""
    entropy = binary_entropy(replaced_rate)
    return 1 - discriminator_loss / entropy if entropy > 0 else float("nan")


def ratio(pair: Any) -> float:
    """sum / weight of a metric, nan where the weight is 0."""
    total, weight = (float(x) for x in pair)
    return total / weight if weight > 0 else float("nan")


def ratios(sums: Mapping[str, Any], names: list[str]) -> dict[str, float]:
    """`ratio` of several metrics by name."""
    return {name: ratio(sums[name]) for name in names}
