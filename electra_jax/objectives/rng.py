"""Random numbers of a training step as a function of (seed, step, stream, global row, position,
unit) alone.

Threefry is used directly with (row, position) as its counter, so that no number depends on an
array's shape, on padding, on how a batch is split, or on a device's share of it.
"""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
from flax import struct
from jax.extend.random import threefry2x32_p

from electra_jax.modeling.dropout import DropoutRng, dropout_rng_from_key

STREAMS = {
    "select": 1,
    "show": 2,
    "sample": 3,
    "generator_dropout": 4,
    "discriminator_dropout": 5,
}


def _stream(name: str) -> int:
    """The number of a stream; an objective may name streams of its own."""
    return STREAMS.get(name) or 2**16 + zlib.crc32(name.encode()) % 2**31


def _threefry(k0: jax.Array, k1: jax.Array, x0: jax.Array, x1: jax.Array) -> list[jax.Array]:
    shape = jnp.broadcast_shapes(k0.shape, k1.shape, x0.shape, x1.shape)
    operands = [jnp.broadcast_to(x.astype(jnp.uint32), shape) for x in (k0, k1, x0, x1)]
    return threefry2x32_p.bind(*operands)


def _unit_interval(bits: jax.Array) -> jax.Array:
    """The top 24 bits of uint32 as float32 in [0, 1)."""
    return (bits >> 8).astype(jnp.float32) * jnp.float32(2**-24)


@struct.dataclass
class Draws:
    """The random numbers of one (micro)batch: `key` of the run (typed), `step` int32 [], `rows`
    int32 [batch] global rows."""

    key: jax.Array
    step: jax.Array
    rows: jax.Array

    def _key_data(self, stream: str) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(self.key, self.step), _stream(stream))
        return jax.random.key_data(key).astype(jnp.uint32)

    def _position_bits(self, stream: str, positions: jax.Array) -> list[jax.Array]:
        key = self._key_data(stream)
        rows = self.rows.reshape(-1, *[1] * (positions.ndim - 1))
        return _threefry(key[0], key[1], rows, positions)

    def uniform(self, stream: str, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Two independent uniforms in [0, 1), float32 [batch, n], for `positions` int32 [batch or
        1, n]."""
        first, second = self._position_bits(stream, positions)
        return _unit_interval(first), _unit_interval(second)

    def uniform_units(self, stream: str, positions: jax.Array, units: int) -> jax.Array:
        """Uniforms in [0, 1), float32 [batch, n, units]: one for each unit at each of `positions`
        [batch or 1, n]."""
        first, second = self._position_bits(stream, positions)
        counter = jnp.arange(units, dtype=jnp.uint32)[None, None, :]
        zero = jnp.zeros((1, 1, 1), jnp.uint32)
        return _unit_interval(_threefry(first[..., None], second[..., None], zero, counter)[0])

    def noise(self, stream: str) -> DropoutRng:
        """The dropout RNG of this stream."""
        key = jax.random.fold_in(jax.random.fold_in(self.key, self.step), _stream(stream))
        return dropout_rng_from_key(key, self.rows)
