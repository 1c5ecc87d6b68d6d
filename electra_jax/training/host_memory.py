"""Keeps the memory that a step frees for the next step, on hosts whose CPU computes, and one step's
at a time.

XLA's CPU client allocates and frees its scratch memory with every execution. glibc gives large
blocks back to the system each time, and the system clears every page again: a quarter of a small
model's step (benchmarks/LOG.md).
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path

import jax

# Free space for small blocks, so that none of them lands inside the range of a step's scratch
# memory: steps of several shapes would need a new range each time. It is address space, not memory,
# until used.
_SMALL_BLOCKS = 1 << 30

_NO_LIMIT = 1 << 60  # a control group of version 1 without a limit has a number above

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


def one_program_at_a_time() -> None:
    """Makes a CPU execute programs where they are called, in place of queueing them: a queued step
    has scratch memory of its own beside that of the step that runs. Call it before the first
    computation."""
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def free_memory() -> int | None:
    """Bytes that a process can still take: Linux's MemAvailable, or what is left of its control
    group's limit (a container's) where that is less; None elsewhere."""
    known = [x for x in (_bytes("/proc/meminfo", "MemAvailable"), left_in_group()) if x is not None]
    return min(known, default=None)


def left_in_group(
    groups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Bytes up to the memory limit of this process's control group (version 2 or 1), cached files
    that can be dropped counted as free; None without a limit."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers in ("", "memory"):
            root = groups / controllers
            # Inside a container the path may be the host's, and its own group the root.
            for folder in {root / path.lstrip("/"), root}:
                left = _left_in(folder, version=1 if controllers else 2)
                found += [] if left is None else [left]
    return min(found, default=None)


def _left_in(folder: Path, version: int) -> int | None:
    limit, usage, cached = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    try:
        most = int((folder / limit).read_text(encoding="utf-8"))
        used = int((folder / usage).read_text(encoding="utf-8"))
        statistics = (folder / "memory.stat").read_text(encoding="utf-8").split()
    except (OSError, ValueError):  # no such group, or the limit "max"
        return None
    if most >= _NO_LIMIT:
        return None
    droppable = dict(zip(statistics[::2], statistics[1::2], strict=True)).get(cached, "0")
    return max(0, most - used + int(droppable))


def process_memory() -> int | None:
    """Bytes of this process that are in memory; None where it cannot be told."""
    return _bytes("/proc/self/status", "VmRSS")


def _bytes(file: str, name: str) -> int | None:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = (line.split() for line in lines if line.startswith(f"{name}:"))
    return next((int(words[1]) << 10 for words in found), None)
