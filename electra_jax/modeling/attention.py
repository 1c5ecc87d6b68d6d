"""Multi-head attention. Letters: b batch, q query position, k key position, n heads, d head width,
h hidden width."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from electra_jax.config.model import ElectraConfig
from electra_jax.errors import UserError
from electra_jax.modeling.dropout import DropoutRng, dropout
from electra_jax.modeling.layers import Dense, truncated_normal


def attend(
    config: ElectraConfig,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    rng: DropoutRng | None,
    site: int,
) -> jax.Array:
    """softmax(query · keyᵀ / √d) · value over heads: [batch, n, length, d] each, result [batch,
    length, n · d].

    `mask` is bool, broadcastable to [batch, 1, query, key]; True: the key is attended to. For
    cuDNN it may be the number of real keys of each row instead, int32 [batch]. Softmax in float32.
    """
    batch, heads, length, depth = query.shape
    if config.attention == "cudnn":
        return _cudnn(query, key, value, mask).reshape(batch, length, heads * depth)
    # The layout bnqd keeps both products as plain batched matrix products, without a transpose
    # inside.
    scores = jnp.einsum("bnqd,bnkd->bnqk", query * depth**-0.5, key)
    scores = jnp.where(mask, scores.astype(jnp.float32), -1e9)
    weights = jax.nn.softmax(scores, axis=-1)
    weights = dropout(weights.astype(value.dtype), config.attention_probs_dropout_prob, rng, site)
    mixed = jnp.einsum("bnqk,bnkd->bnqd", weights, value)
    return jnp.swapaxes(mixed, 1, 2).reshape(batch, length, heads * depth)


def _cudnn(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
    """cuDNN's fused attention: the arguments of `attend` → [batch, length, n, d]."""
    if query.dtype != jnp.bfloat16:
        raise UserError(
            "model.attention='cudnn' computes in bfloat16 alone: set train.dtype=bfloat16, or "
            "model.attention='xla'"
        )
    masking: Any = {"key_value_seq_lengths": mask}  # lengths cost nothing
    if mask.dtype == jnp.bool_:
        # A mask becomes a bias [batch, 1, query, key] there, and is not broadcast over queries.
        length = query.shape[2], key.shape[2]
        masking = {"mask": jnp.broadcast_to(mask, (*mask.shape[:2], *length))}
    query, key, value = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))
    return jax.nn.dot_product_attention(query, key, value, implementation="cudnn", **masking)


def _split_heads(x: jax.Array, heads: int) -> jax.Array:
    """[batch, length, n · d] → [batch, n, length, d]."""
    batch, length, width = x.shape
    return jnp.swapaxes(x.reshape(batch, length, heads, width // heads), 1, 2)


class SelfAttention(nn.Module):
    """The reference's self-attention: three projections with biases; its output projection belongs
    to the block."""

    config: ElectraConfig

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, rng: DropoutRng | None, site: int
    ) -> jax.Array:
        c = self.config
        parts = [Dense(c, c.hidden_size, name=n)(hidden) for n in ("query", "key", "value")]
        query, key, value = (_split_heads(x, c.num_attention_heads) for x in parts)
        return attend(c, query, key, value, mask, rng, site)


def rotary(x: jax.Array, positions: jax.Array, theta: float) -> jax.Array:
    """Rotates pairs (i, i + d/2) of `x` [batch, n, length, d] by position · theta^(−2i/d); float32
    inside."""
    half = x.shape[-1] // 2
    frequency = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions[:, None, :, None].astype(jnp.float32) * frequency[None, None, None, :]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)


class RotaryAttention(nn.Module):
    """ModernBERT's global attention: one fused projection `Wqkv`, rotary positions, output
    projection `Wo`."""

    config: ElectraConfig

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        mask: jax.Array,
        positions: jax.Array,
        rng: DropoutRng | None,
        site: int,
    ) -> jax.Array:
        c = self.config
        fused = Dense(c, 3 * c.hidden_size, use_bias=False, name="Wqkv")(hidden)
        query, key, value = (
            _split_heads(x, c.num_attention_heads) for x in jnp.split(fused, 3, axis=-1)
        )
        query = rotary(query, positions, c.rope_theta)
        key = rotary(key, positions, c.rope_theta)
        mixed = attend(c, query, key, value, mask, rng, site)
        init = truncated_normal(c.initializer_range / (2 * c.num_hidden_layers) ** 0.5)
        return Dense(c, c.hidden_size, use_bias=False, kernel_init=init, name="Wo")(mixed)
