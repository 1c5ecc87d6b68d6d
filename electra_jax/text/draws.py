"""Random numbers that depend on what they are for, not on the order in which they are asked."""

from __future__ import annotations

import numpy as np

_U64 = np.uint64


def uniform(seed: int, stream: int, first: int, count: int) -> np.ndarray:
    """Numbers in [0, 1) for the items `first` … `first + count - 1`: [count] float64.

    Item n's number is a pure function of (seed, stream, n): SplitMix64's finalizer over a counter.
    """
    with np.errstate(over="ignore"):
        key = _mix(_mix(np.array([seed & (2**64 - 1)], _U64)) + _U64(stream))
        numbers = np.arange(first, first + count, dtype=_U64)
        bits = _mix(key + numbers * _U64(0x9E3779B97F4A7C15))
    return (bits >> _U64(11)).astype(np.float64) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _U64(27))) * _U64(0x94D049BB133111EB)
    return x ^ (x >> _U64(31))
