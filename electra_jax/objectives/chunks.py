"""Functions of every position of a row, computed for some positions at a time: logits over the
vocabulary at all positions, [B, L, V], would not fit in memory.

    log_p = by_chunks(lambda h, ids: -masked_lm_loss(head(h), ids), hidden, targets)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Positions of the whole batch at a time: 250 MB of logits over 30,522 tokens.
POSITIONS = 2048


def by_chunks(function: Callable[..., Any], *arrays: jax.Array, positions: int = POSITIONS) -> Any:
    """`function(*arrays)` of arrays [B, L, …], whose results are [B, L, …] (a tree of them) and at
    each position depend on that position alone.

    It is called for a share of L at a time, so that B × share is at most `positions` (and the share
    at least 1). The backward pass computes its intermediate values again. Rows stay whole, so a
    batch that is split over devices remains so.
    """
    batch, length = arrays[0].shape[:2]
    number = -(-length // max(1, positions // batch))
    if number == 1:
        return function(*arrays)
    share = -(-length // number)

    def split(x: jax.Array) -> jax.Array:
        padded = jnp.pad(x, [(0, 0), (0, number * share - length), *[(0, 0)] * (x.ndim - 2)])
        return jnp.moveaxis(padded.reshape(batch, number, share, *x.shape[2:]), 1, 0)

    def join(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x, 0, 1).reshape(batch, number * share, *x.shape[3:])[:, :length]

    again = jax.checkpoint(function)
    parts = jax.lax.map(lambda part: again(*part), tuple(split(x) for x in arrays))
    return jax.tree.map(join, parts)
