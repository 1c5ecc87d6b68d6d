"""Dropout whose mask is a pure function of (seed, site, row, position, …, unit).

A counter hash, fused by XLA into the loop that uses it, costs a tenth of generating threefry bits
and depends on no array's shape: padding, sharding or splitting a batch leaves every mask as it is.
The backward pass recomputes the mask.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

_M1, _M2, _GOLDEN = 0x7FEB352D, 0x846CA68B, 0x9E3779B9


def _mix(x: jax.Array) -> jax.Array:
    """A bijection of uint32 with full avalanche (two multiply-xorshift rounds)."""
    x = (x ^ (x >> 16)) * jnp.uint32(_M1)
    x = (x ^ (x >> 15)) * jnp.uint32(_M2)
    return x ^ (x >> 16)


@struct.dataclass
class DropoutRng:
    """The random-number state of dropout: `seed` uint32 [] (run, step and stream folded in) and
    `rows` int32 [batch], the global row numbers."""

    seed: jax.Array
    rows: jax.Array

    def fold(self, number: jax.Array | int) -> DropoutRng:
        """An independent stream, e.g. one for each network, layer or dropout site in a layer."""
        number = jnp.asarray(number, jnp.uint32)
        return self.replace(seed=_mix(self.seed ^ _mix(number + jnp.uint32(_GOLDEN))))  # type: ignore[attr-defined]


def dropout_rng_from_key(key: jax.Array, rows: jax.Array) -> DropoutRng:
    """The state for a typed PRNG key and the global row numbers int32 [batch]."""
    key_data = jax.random.key_data(key).astype(jnp.uint32)
    seed = _mix(key_data[0] ^ _mix(key_data[-1] + jnp.uint32(_GOLDEN)))
    return DropoutRng(seed=seed, rows=rows)


def _bits(seed: jax.Array, rows: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Hash bits uint32 of `shape` = [batch, …]; every axis is mixed in turn, the last in the fused
    loop."""
    bits = _mix(seed ^ _mix(rows.astype(jnp.uint32) + jnp.uint32(_GOLDEN)))
    for size in shape[1:]:
        counter = jnp.arange(size, dtype=jnp.uint32) * jnp.uint32(_GOLDEN)
        bits = _mix(bits[..., None] ^ counter.reshape((1,) * bits.ndim + (size,)))
    return bits


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _dropout(x: jax.Array, seed: jax.Array, rows: jax.Array, rate: float) -> jax.Array:
    keep = _bits(seed, rows, x.shape) >= jnp.uint32(round(rate * 2**32))
    return jnp.where(keep, x * jnp.asarray(1.0 / (1.0 - rate), x.dtype), jnp.zeros((), x.dtype))


def _forward(x: jax.Array, seed: jax.Array, rows: jax.Array, rate: float) -> Any:
    return _dropout(x, seed, rows, rate), (seed, rows)


def _backward(rate: float, residuals: Any, gradient: jax.Array) -> Any:
    seed, rows = residuals
    nothing = [np.zeros(r.shape, jax.dtypes.float0) for r in (seed, rows)]
    return (_dropout(gradient, seed, rows, rate), *nothing)


_dropout.defvjp(_forward, _backward)


def dropout(x: jax.Array, rate: float, rng: DropoutRng | None, site: int) -> jax.Array:
    """Inverted dropout of `x` [batch, …] at `rate`; the identity where `rng` is None or the rate
    0. `site` numbers the place in a layer, so that each has a mask of its own."""
    if rng is None or rate == 0.0:
        return x
    rng = rng.fold(site)
    return _dropout(x, rng.seed, rng.rows, rate)
