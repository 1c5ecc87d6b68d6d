"""Freed memory stays, and stays whole: in processes of their own, as malloc's settings last."""

import platform
import subprocess
import sys

import pytest

from electra_jax.training.host_memory import left_in_group

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone")


def run(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_freed_memory_is_not_cleared_by_the_system_again():
    script = """
import resource
import numpy as np
from electra_jax.training.host_memory import keep_freed_memory
assert keep_freed_memory()
faults = []
for _ in range(3):
    np.ones(2**24)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[1] - faults[0], faults[2] - faults[1])
"""
    assert max(map(int, run(script))) < 1000  # 128 MiB are 32,768 pages


def test_small_blocks_do_not_settle_where_a_larger_one_was():
    """Else scratch memory of one shape would not fit where that of another shape was."""
    script = """
import ctypes
from electra_jax.training.host_memory import keep_freed_memory
assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
large, smaller = 3 << 30, 2 << 30
places = []
for _ in range(4):
    place = libc.malloc(large)
    places.append(place)
    libc.free(place)
    other = libc.malloc(smaller)
    for size in (100, 5000, 300_000, 10_000_000):
        assert libc.malloc(size)
    libc.free(other)
print(len(set(places)))
"""
    assert run(script) == ["1"]


def test_memory_of_the_process_and_of_the_host():
    script = """
import numpy as np
from electra_jax.training.host_memory import free_memory, process_memory
free, before = free_memory(), process_memory()
held = np.ones(2**25)  # 256 MiB
print(round((process_memory() - before) / 2**20), 0 < before < free + before)
"""
    grown, plausible = run(script)
    assert 250 < int(grown) < 270 and plausible == "True"


GIB = 1 << 30


@pytest.mark.parametrize(
    ("line", "folder", "files", "left"),
    [
        ("0::/pod/a", "pod/a", {"memory.max": 8 * GIB, "memory.current": 3 * GIB}, 6 * GIB),
        ("0::/of/the/host", "", {"memory.max": 4 * GIB, "memory.current": 3 * GIB}, 2 * GIB),
        ("0::/pod/a", "pod/a", {"memory.max": "max", "memory.current": 3 * GIB}, None),
        ("9:memory:/b", "memory/b",
         {"memory.limit_in_bytes": 8 * GIB, "memory.usage_in_bytes": 7 * GIB}, 2 * GIB),
        ("9:memory:/b", "memory/b",
         {"memory.limit_in_bytes": 0x7FFFFFFFFFFFF000, "memory.usage_in_bytes": GIB}, None),
        ("9:memory:/b", "memory/b",
         {"memory.limit_in_bytes": GIB, "memory.usage_in_bytes": 3 * GIB}, 0),
    ],
)  # fmt: skip
def test_a_container_s_limit_counts(tmp_path, line, folder, files, left):
    """A gibibyte of the usage is cached files, which can be dropped."""
    group = tmp_path / "groups" / folder
    group.mkdir(parents=True)
    for name, value in files.items():
        (group / name).write_text(f"{value}\n")
    (group / "memory.stat").write_text(f"inactive_file {GIB}\ntotal_inactive_file {GIB}\n")
    (tmp_path / "membership").write_text(f"8:pids:/\n{line}\n")
    assert left_in_group(tmp_path / "groups", tmp_path / "membership") == left


def test_without_control_groups_nothing_is_known(tmp_path):
    assert left_in_group(tmp_path, tmp_path / "none") is None


def test_a_second_execution_needs_no_scratch_of_its_own():
    script = """
import jax, jax.numpy as jnp
from electra_jax.api.host import prepare_host
from electra_jax.training.host_memory import process_memory
prepare_host()

@jax.jit
def step(x):
    matrix = jnp.sin(x + jnp.arange(2**26, dtype=jnp.float32)).reshape(2**13, -1)  # 256 MiB
    return x + (matrix @ matrix[0]).sum() * 1e-9

x = jnp.float32(0)
program = step.lower(x).compile()
scratch = program.memory_analysis().temp_size_in_bytes
before = process_memory()
peak = 0
for _ in range(3):
    x = program(x)
    peak = max(peak, process_memory())
print((peak - before) / scratch)
"""
    (ratio,) = run(script)
    assert float(ratio) < 1.15
