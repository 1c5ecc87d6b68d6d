"""Sampling of replacement tokens from the generator's distribution. No gradient passes through a
sample."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp


def tempered(
    logits: jax.Array, temperature: jax.Array | float, forbidden_ids: jax.Array | None = None
) -> jax.Array:
    """logits / temperature, less 1000 at `forbidden_ids` [B, N] (the reference's
    `disallow_correct`), no gradient."""
    logits = jax.lax.stop_gradient(logits) / temperature
    if forbidden_ids is not None:
        logits = logits - 1000.0 * jax.nn.one_hot(forbidden_ids, logits.shape[-1])
    return logits


def gumbel_sample(logits: jax.Array, uniforms: jax.Array) -> jax.Array:
    """The reference's sampler: argmax(logits − log(−log(u + 1e-9) + 1e-9)), int32 [B, N] from [B,
    N, V]."""
    gumbel = -jnp.log(-jnp.log(uniforms + 1e-9) + 1e-9)
    return jnp.argmax(jax.nn.softmax(logits + gumbel, axis=-1), axis=-1).astype(jnp.int32)


def inverse_cdf_sample(logits: jax.Array, first: jax.Array, second: jax.Array) -> jax.Array:
    """A token of softmax(logits [B, N, V]) from two uniforms [B, N]: int32 [B, N].

    Two levels: `first` chooses a block of about √V tokens by the blocks' masses, `second` a token
    inside it. The product of the two probabilities is the token's, so the sample is exact in
    distribution; short sums also keep float32 rounding far below one over a whole vocabulary's
    cumulative sum.
    """
    vocab = logits.shape[-1]
    block = math.ceil(math.sqrt(vocab))
    even = vocab - vocab % block
    mass = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    sums = jnp.sum(mass[..., :even].reshape(*mass.shape[:-1], -1, block), axis=-1)
    if even < vocab:
        rest = jnp.sum(mass[..., even:], axis=-1, keepdims=True)
        sums = jnp.concatenate([sums, rest], axis=-1)
    chosen = _invert(sums, first)
    tokens = chosen[..., None] * block + jnp.arange(block)[None, None, :]
    inside = jnp.take_along_axis(mass, jnp.minimum(tokens, vocab - 1), axis=-1)
    inside = jnp.where(tokens < vocab, inside, 0.0)
    return (chosen * block + _invert(inside, second)).astype(jnp.int32)


def _invert(mass: jax.Array, uniform: jax.Array) -> jax.Array:
    """Index [B, N] at which the cumulative sum of `mass` [B, N, n] first exceeds uniform ·
    total."""
    cumulative = jnp.cumsum(mass, axis=-1)
    total = cumulative[..., -1]
    # Rounding of u · total up to the total itself must not fall off the end, where padding has no
    # mass.
    threshold = jnp.minimum(uniform * total, total * jnp.float32(1 - 2**-22))
    return jnp.argmax(cumulative > threshold[..., None], axis=-1)
