"""What the losses of the kinds are made of: cross entropies, divergences.

Letters: B rows, C labels or choices. Everything is by row, so that padding, accumulation and meshes
change none.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

_EXCLUDED = -500.0  # heads put what cannot be chosen at -1000 (the reference's) or lower


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """−log softmax at `labels` over the last axis; `smoothing` spreads over all that may be
    chosen: positions of an answer and choices that are there."""
    log_probs = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probs, labels[..., None], axis=-1)[..., 0]
    if smoothing == 0.0:
        return -picked
    allowed = logits > _EXCLUDED  # nowhere in a row that only fills up the batch
    spread = jnp.sum(log_probs, -1, where=allowed) / jnp.maximum(jnp.sum(allowed, -1), 1)
    return -(1.0 - smoothing) * picked - smoothing * spread


def binary_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """−log sigmoid of ± logits, elementwise."""
    return jnp.maximum(logits, 0) - logits * labels + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def categorical_divergence(one: jax.Array, other: jax.Array) -> jax.Array:
    """Half the sum of both Kullback-Leibler divergences of two softmaxes over the last axis."""
    p, q = jax.nn.log_softmax(one), jax.nn.log_softmax(other)
    return 0.5 * jnp.sum((jnp.exp(p) - jnp.exp(q)) * (p - q), -1)
