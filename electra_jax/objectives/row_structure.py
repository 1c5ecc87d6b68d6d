"""Segments, positions, token types and attention masks of rows of token ids.

A row is right-padded; every segment in it begins with [CLS], an id that text never yields, so all
of this is a function of the ids. It is always computed from the original ids: a sampled [CLS]
changes nothing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from electra_jax.modeling.electra import Inputs
from electra_jax.text.tokenizers.special_ids import SpecialIds as SpecialIds


@struct.dataclass
class Structure:
    """`segment_ids` int32 [B, L] (0 = padding, segments from 1); `inputs` ready for an encoder."""

    segment_ids: jax.Array
    inputs: Inputs

    @property
    def valid(self) -> jax.Array:
        """bool [B, L]: not padding."""
        return self.segment_ids > 0


def row_structure(input_ids: jax.Array, special: SpecialIds, packed: bool) -> Structure:
    """Structure of rows int32 [B, L].

    `packed=False` promises one segment a row: attention needs only the padding mask [B, 1, 1, L]
    and positions are 0, 1, 2, …. With `packed=True` segments are isolated: mask [B, 1, L, L],
    positions restart in each.
    """
    valid = input_ids != special.pad
    starts = (input_ids == special.cls) & valid
    separators = ((input_ids == special.sep) & valid).astype(jnp.int32)
    before = jnp.cumsum(separators, axis=1) - separators
    if not packed:
        segment_ids = valid.astype(jnp.int32)
        types = jnp.where(valid, jnp.minimum(before, 1), 0)
        # A row of padding alone (held-out batches are filled up with them) attends to one key.
        lengths = jnp.maximum(jnp.sum(segment_ids, axis=1), 1)
        inputs = Inputs(input_ids, valid[:, None, None, :], types, lengths=lengths)
        return Structure(segment_ids, inputs)
    segment_ids = jnp.where(valid, jnp.cumsum(starts.astype(jnp.int32), axis=1), 0)
    index = jnp.arange(input_ids.shape[1], dtype=jnp.int32)[None, :]
    start = jax.lax.cummax(jnp.where(starts, index, 0), axis=1)
    separators_at_start = jax.lax.cummax(jnp.where(starts, before, 0), axis=1)
    types = jnp.where(valid, jnp.clip(before - separators_at_start, 0, 1), 0)
    positions = jnp.where(valid, index - start, 0)
    mask = (segment_ids[:, None, :, None] == segment_ids[:, None, None, :]) & valid[:, None, None]
    return Structure(segment_ids, Inputs(input_ids, mask, types, positions))
