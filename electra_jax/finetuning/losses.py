"""Parts of the kinds' losses: cross entropies and divergences.

Letters: B rows, C labels or choices. Each row's loss depends on that row alone, so that padding,
accumulation and meshes do not change it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

_EXCLUDED = -500.0  # heads set impossible choices to -1000 (the reference's) or lower


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """−log softmax over the last axis at `labels`. `smoothing` is spread evenly over the possible
    classes: those whose logit is not excluded (masked positions, absent choices)."""
    log_probs = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probs, labels[..., None], axis=-1)[..., 0]
    if smoothing == 0.0:
        return -picked
    allowed = logits > _EXCLUDED  # all False in a row that pads the batch
    spread = jnp.sum(log_probs, -1, where=allowed) / jnp.maximum(jnp.sum(allowed, -1), 1)
    return -(1.0 - smoothing) * picked - smoothing * spread


def binary_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """−log sigmoid of ± logits, elementwise; `labels` are 0 … 1."""
    return jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def categorical_divergence(one: jax.Array, other: jax.Array) -> jax.Array:
    """Half the sum of both Kullback-Leibler divergences of two softmaxes over the last axis."""
    p, q = jax.nn.log_softmax(one), jax.nn.log_softmax(other)
    return 0.5 * jnp.sum((jnp.exp(p) - jnp.exp(q)) * (p - q), -1)
