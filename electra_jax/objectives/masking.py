"""Which tokens are predicted, and what the generator sees there.

`select_without_replacement` is the default; `select_with_replacement` is the reference's `mask()`,
which samples positions with replacement (at length 128, 7 % of them are duplicates). Both return
arrays of a fixed size N, the most predictions that a row can need; unused entries have weight 0.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import struct

from electra_jax.objectives.row_structure import SpecialIds


@struct.dataclass
class Selection:
    """The positions that the generator predicts: `positions` int32 [B, N] (0 where unused),
    `weights` float32 [B, N] (0 or 1)."""

    positions: jax.Array
    weights: jax.Array


def max_predictions_per_seq(seq_len: int, mask_prob: float, max_segments: int = 1) -> int:
    """Array size N for the predictions of a row: the reference's
    `int((mask_prob + 0.005) · seq_len)`, enlarged for packed rows.

    In a segment of n tokens max(1, round(mask_prob · n)) are selected, so k segments can exceed the
    share of the whole row by at most max(1/2, 1 − 3 · mask_prob) each (the shortest segment has 3
    tokens); no selection is ever cut off.
    """
    single = int((mask_prob + 0.005) * seq_len)
    if max_segments <= 1:
        return max(1, single)
    excess = max(0.5, 1 - 3 * mask_prob)
    return max(1, single, min(seq_len, math.ceil(mask_prob * seq_len + excess * max_segments)))


def candidates(input_ids: jax.Array, valid: jax.Array, special: SpecialIds) -> jax.Array:
    """bool [B, L]: tokens that may be selected, all but padding, [CLS], [SEP] and [MASK] ([UNK]
    may be)."""
    forbidden = jnp.zeros(input_ids.shape, bool)
    for token in (special.cls, special.sep, special.mask):
        forbidden |= input_ids == token
    return valid & ~forbidden


def num_to_mask(tokens: jax.Array, mask_prob: float) -> jax.Array:
    """max(1, round(mask_prob · tokens)), half to even, specials counted: int32 like `tokens`."""
    share = jnp.round(tokens.astype(jnp.float32) * jnp.float32(mask_prob))
    return jnp.maximum(1, share.astype(jnp.int32))


def select_without_replacement(
    may_select: jax.Array,
    segment_ids: jax.Array,
    uniforms: jax.Array,
    mask_prob: float,
    max_predictions: int,
) -> Selection:
    """In every segment the `num_to_mask` candidates with the smallest uniforms [B, L], in order of
    position."""
    length = may_select.shape[1]
    index = jnp.arange(length)
    same = (segment_ids[:, :, None] == segment_ids[:, None, :]) & (segment_ids > 0)[:, None, :]
    tokens = jnp.sum(same, axis=2)
    earlier = (uniforms[:, None, :] < uniforms[:, :, None]) | (
        (uniforms[:, None, :] == uniforms[:, :, None])
        & (index[None, None, :] < index[None, :, None])
    )
    rank = jnp.sum(same & earlier & may_select[:, None, :], axis=2)
    selected = may_select & (rank < num_to_mask(tokens, mask_prob))
    order = jnp.sort(jnp.where(selected, index[None, :], length), axis=1)
    order = jnp.pad(order, ((0, 0), (0, max(0, max_predictions - length))), constant_values=length)[
        :, :max_predictions
    ]
    used = order < length
    return Selection(jnp.where(used, order, 0), used.astype(jnp.float32))


def group_starts(
    may_select: jax.Array, word_starts: jax.Array, lengths: jax.Array, longest: int
) -> jax.Array:
    """bool [B, L]: where a group of tokens begins that is selected together, an n-gram of words.

    `word_starts` bool [B, L] says where words begin; `lengths` int32 [B, L] of how many words, at
    most `longest`, a group is that begins at a token. Groups end at every token that may not be
    selected, and so never cross from one segment or document to another.
    """
    before = jnp.pad(may_select[:, :-1], ((0, 0), (1, 0)))
    forced = may_select & ~before
    starts = may_select & (word_starts | forced)
    if longest == 1:
        return starts
    # How many more words the group may take, as a map [longest] from its value before a token to
    # the one after it; composed over the row.
    left = jnp.arange(longest)[None, None, :]
    fresh = jnp.broadcast_to((lengths - 1)[:, :, None], (*lengths.shape, longest))
    taken = jnp.where(left == 0, fresh, left - 1)
    maps = jnp.where(forced[..., None], fresh, jnp.where(starts[..., None], taken, left))

    def compose(first: jax.Array, second: jax.Array) -> jax.Array:
        return jnp.take_along_axis(second, first, axis=-1)

    after = jax.lax.associative_scan(compose, maps, axis=1)[:, :, 0]
    none_left = jnp.pad(after[:, :-1], ((0, 0), (1, 0))) == 0
    return starts & (forced | none_left)


def of_group(uniforms: jax.Array, starts: jax.Array) -> jax.Array:
    """`uniforms` [B, L] of the first token of each token's group: where they order a selection, a
    group is selected from its first token on, and only the last one in part."""
    index = jnp.arange(starts.shape[1], dtype=jnp.int32)[None, :]
    first = jax.lax.cummax(jnp.where(starts, index, 0), axis=1)
    return jnp.take_along_axis(uniforms, first, axis=1)


def select_with_replacement(
    may_select: jax.Array,
    tokens: jax.Array,
    uniforms: jax.Array,
    mask_prob: float,
    max_predictions: int,
) -> Selection:
    """The reference's selection: each prediction samples a candidate uniformly, independent of the
    others.

    `tokens` int32 [B] counts the row's tokens; each of `uniforms` float32 [B, N] chooses one.
    """
    count = jnp.sum(may_select, axis=1)
    pick = jnp.floor(uniforms * count[:, None]).astype(jnp.int32)
    pick = jnp.minimum(pick, jnp.maximum(count - 1, 0)[:, None])
    ordinal = jnp.where(may_select, jnp.cumsum(may_select, axis=1) - 1, -1)
    positions = jnp.argmax(ordinal[:, None, :] == pick[:, :, None], axis=2)
    number = jnp.minimum(num_to_mask(tokens, mask_prob), max_predictions)
    used = (jnp.arange(max_predictions)[None, :] < number[:, None]) & (count > 0)[:, None]
    return Selection(jnp.where(used, positions, 0), used.astype(jnp.float32))


def scatter_update(
    row: jax.Array, values: jax.Array, selection: Selection, *, average_duplicates: bool = False
) -> jax.Array:
    """`row` [B, L] with `values` [B, N] written at the selected positions.

    Unused entries write nothing, and position 0 is never written (the reference's unused entries
    point there). With `average_duplicates` a position selected twice gets the floor of the mean of
    its values, as in the reference's `scatter_update`; without it positions must be distinct.
    """
    rows = jnp.arange(row.shape[0])[:, None]
    used = ((selection.weights > 0) & (selection.positions > 0)).astype(values.dtype)
    total = jnp.zeros_like(row).at[rows, selection.positions].add(values * used)
    count = jnp.zeros_like(row).at[rows, selection.positions].add(used)
    if average_duplicates:
        total = total // jnp.maximum(count, 1)
    return jnp.where(count > 0, total, row)


def mask_inputs(
    input_ids: jax.Array,
    selection: Selection,
    show_uniforms: jax.Array,
    special: SpecialIds,
    *,
    average_duplicates: bool = False,
    masked_share: float = 0.85,
) -> jax.Array:
    """The generator's input ids: [MASK] at the selected positions whose uniform [B, N] is below
    `masked_share`, the original elsewhere."""
    hidden = selection.replace(  # type: ignore[attr-defined]
        weights=selection.weights * (show_uniforms < masked_share)
    )
    masks = jnp.full_like(selection.positions, special.mask)
    return scatter_update(input_ids, masks, hidden, average_duplicates=average_duplicates)
