"""The order of examples as a pure function of the position: a keyed permutation with O(1) memory.

Example g of a run is row `permute(i, n, key)` with `epoch, i = divmod(g, n)` and the key made of
the run's seed and the epoch. There is no shuffle buffer, nothing to save: a position is a number.

The permutation is a Feistel network over the smallest power of two that holds n, walked until it
lands inside [0, n): "cycle walking" of Black and Rogaway, Ciphers with arbitrary finite domains
(2002). The arithmetic is our own and golden-tested, because an order that changed between versions
of a library would silently change every resumed run.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from electra_jax.text.keyed_random import GOLDEN_GAMMA, mix

# An even number, so that halves of unequal width end where they began. Four rounds are enough in
# theory for large domains; small ones need more, and below 8 bits ten are not enough: over many
# keys, pairs of neighbours are visibly uneven. So tiny ranges walk inside 8 bits.
ROUNDS = 10
LEAST_BITS = 8
LARGEST = 2**62

_BITS64 = 2**64 - 1
_ROUND_CONSTANTS = np.array(
    [[number * GOLDEN_GAMMA & _BITS64] for number in range(1, ROUNDS + 1)], dtype=np.uint64
)


def permute(index: ArrayLike, n: int, key: ArrayLike) -> NDArray[np.int64]:
    """Applies the permutation of range(n) with this key to each index.

    Args:
      index: integers in [0, n), any shape.
      n: the size of the permuted range, 1 to 2**62.
      key: one unsigned 64-bit integer, or an array of them that broadcasts against `index`:
        elements with the same key follow the same permutation.

    Returns:
      int64 of the broadcast shape, in [0, n); for a fixed key a bijection.

    Raises:
      ValueError: n or an index is out of range.
    """
    if not 1 <= n <= LARGEST:
        raise ValueError(f"cannot permute {n} elements: the range is 1 to 2**62")
    keys = np.asarray(key, dtype=np.uint64)
    given = np.asarray(index, dtype=np.int64)
    if given.size and (given.min() < 0 or given.max() >= n):
        raise ValueError(f"an index lies outside [0, {n})")
    shape = np.broadcast_shapes(given.shape, keys.shape)
    value = np.broadcast_to(given, shape).astype(np.uint64).reshape(-1)
    keys = keys.reshape(1) if keys.size == 1 else np.broadcast_to(keys, shape).reshape(-1)
    # [ROUNDS, 1] for one key, [ROUNDS, elements] for many.
    round_keys = mix(keys + _ROUND_CONSTANTS)
    bits = max((n - 1).bit_length(), LEAST_BITS)

    value = _feistel(value, bits, round_keys)
    outside = np.flatnonzero(value >= np.uint64(n))
    while outside.size:  # under two passes on average where 2 n is above the power of two
        those = round_keys if keys.size == 1 else round_keys[:, outside]
        walked = _feistel(value[outside], bits, those)
        value[outside] = walked
        outside = outside[walked >= np.uint64(n)]
    return value.astype(np.int64).reshape(shape)


def rows_of(examples: ArrayLike, n: int, seed: int) -> NDArray[np.int64]:
    """The row that each example of a run reads.

    Args:
      examples: their numbers, counted from the beginning of the run; int64, any shape, not
        negative.
      n: rows in the data set; every n consecutive examples from a multiple of n on are one epoch
        and hold each row once.
      seed: of the run; any integer, taken modulo 2**64.

    Returns:
      int64, row numbers in [0, n), in the shape of `examples`.
    """
    epoch, index = np.divmod(np.asarray(examples, dtype=np.int64), n)
    of_seed = mix(np.asarray([(int(seed) + GOLDEN_GAMMA) & _BITS64], dtype=np.uint64))
    key = mix(of_seed + epoch.astype(np.uint64) * np.uint64(GOLDEN_GAMMA))
    if epoch.size and (epoch == epoch.flat[0]).all():
        key = key.reshape(-1)[:1]  # the common case: one key, so its round keys are computed once
    return permute(index, n, key)


def _feistel(
    value: NDArray[np.uint64], bits: int, round_keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """One pass of the network, a bijection of range(2**bits) for each key."""
    left_bits, right_bits = bits // 2, bits - bits // 2
    left = value >> np.uint64(right_bits)
    right = value & np.uint64((1 << right_bits) - 1)
    for round_key in round_keys:
        mixed = mix(right ^ round_key) & np.uint64((1 << left_bits) - 1)
        left, right = right, left ^ mixed
        left_bits, right_bits = right_bits, left_bits
    return (left << np.uint64(right_bits)) | right
