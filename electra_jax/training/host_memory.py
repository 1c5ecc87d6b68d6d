"""Keeps the memory that a step frees for the next step, on hosts whose CPU computes.

XLA's CPU client allocates and frees its scratch memory with every execution. glibc gives large
blocks back to the system each time, and the system clears every page again: a quarter of a small
model's step (benchmarks/LOG.md).
"""

from __future__ import annotations

import ctypes
import functools
import sys

# Free space for small blocks, so that none of them lands inside the range of a step's scratch
# memory: steps of several shapes would need a new range each time. It is address space, not memory,
# until used.
_SMALL_BLOCKS = 1 << 30

# Numbers of malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


@functools.cache
def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory instead of returning it to the system; True where that worked.

    Call it before the first computation. Costs nothing but the peak staying allocated, which
    training reuses anyway.
    """
    if sys.platform != "linux":
        return False
    try:
        libc = ctypes.CDLL(None)
        mallopt, malloc, free = libc.mallopt, libc.malloc, libc.free
    except (OSError, AttributeError):
        return False
    settings = (
        (_M_ARENA_MAX, 1),  # the other arenas give memory back whatever the thresholds are
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, -1),  # never; a number would end at 2 GiB, less than one step of small
        (_M_TOP_PAD, 256 << 20),
    )
    if not all(mallopt(number, value) == 1 for number, value in settings):
        return False
    malloc.argtypes, malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    free.argtypes, free.restype = [ctypes.c_void_p], None
    space = malloc(_SMALL_BLOCKS)
    malloc(_SMALL_BLOCKS >> 5)  # stays, between that space and the end of the heap
    free(space)
    return True
