"""Random numbers that are pure functions of a key and an item's number, in any order and process.

The bits are SplitMix64's: its finalizer over a counter (Steele, Lea and Flood, Fast splittable
pseudorandom number generators, 2014). Our own arithmetic, so that no library's next version can
change a held-out document or the order of a resumed run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GOLDEN_GAMMA = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio: the step of SplitMix64's counter."""

_U64 = np.uint64


def uniform(seed: int, stream: int, first: int, count: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) for the items `first` … `first + count - 1`: [count] float64.

    Item n's number is a pure function of (seed, stream, n). Each purpose has its own `stream`.
    """
    with np.errstate(over="ignore"):
        key = mix(mix(np.array([seed & (2**64 - 1)], _U64)) + _U64(stream))
        numbers = np.arange(first, first + count, dtype=_U64)
        bits = mix(key + numbers * _U64(GOLDEN_GAMMA))
    return (bits >> _U64(11)).astype(np.float64) * 2.0**-53


def mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer: a bijection of 64 bits; each result bit depends on all of them."""
    bits = (bits ^ (bits >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> _U64(27))) * _U64(0x94D049BB133111EB)
    return bits ^ (bits >> _U64(31))
