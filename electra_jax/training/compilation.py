"""The persistent compilation cache: on by default, in the user's cache folder.

A program compiled for one processor must not run on another, so the folder is named after the
processor's features; JAX's own key covers versions, shapes and options.
"""

from __future__ import annotations

import os
import platform
import zlib
from pathlib import Path

import jax


def use_compilation_cache() -> Path | None:
    """Turns the cache on, unless JAX_COMPILATION_CACHE_DIR is set (empty: no cache).

    Returns its folder; None where it is off or the folder cannot be written.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return None
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "electra_jax" / "compiled" / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        features = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        features = platform.processor()
    return f"{platform.machine()}-{zlib.crc32(features.encode()):08x}"
