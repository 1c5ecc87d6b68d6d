"""Whether a checkpoint is what was written: a digest of each array, size and checksum of each file.

The digests are computed on the device, so they hold all the way from device to device; the list of
files names a torn one before Orbax meets it.
"""

import functools
import hashlib
import os
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from electra_jax.files import read_object, write_json_atomic

_FILES = "files.json"  # {path: [bytes, CRC-32]} of a finished checkpoint


class Torn(Exception):
    """A checkpoint that cannot be used; the message is the reason."""


def digests(arrays: list[jax.Array]) -> list[str]:
    """One 16-digit hexadecimal digest per array, of its raw bits and their indices.

    Computed on the device; equal for every sharding of the same array. One changed element always
    changes the digest; two swapped ones do except with probability 2^-64.
    """
    found = []
    for array in arrays:
        with jax.set_mesh(_mesh_of(array)):
            found.append(_digest(array))
    return [f"{int(a):08x}{int(b):08x}" for a, b in jax.device_get(found)]


def _mesh_of(array: jax.Array) -> jax.sharding.Mesh:
    """A mesh of the array's own devices: jit refuses it under a mesh of others."""
    sharding = array.sharding
    if isinstance(sharding, jax.sharding.NamedSharding) and isinstance(
        sharding.mesh, jax.sharding.Mesh
    ):
        return sharding.mesh
    devices = np.array(sorted(sharding.device_set, key=str))
    return jax.sharding.Mesh(devices, ("device",), axis_types=(jax.sharding.AxisType.Auto,))


@functools.partial(jax.jit, out_shardings=jax.sharding.PartitionSpec())
def _digest(array: jax.Array) -> jax.Array:
    """uint32 [2]: two wrap-around sums of hash(element xor hash(index))."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    bits = _as_uint32(array)
    index = jnp.zeros(bits.shape, jnp.uint32)
    stride = 1
    for axis in reversed(range(bits.ndim)):
        # Arithmetic modulo 2^32 throughout: sums in any order, so any sharding, give the same.
        along = lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
        index = index + along * np.uint32(stride % 2**32)
        stride *= bits.shape[axis]
    index = _mix(index)
    # The hash is one-to-one in the element, so a single change cannot cancel. A plain weighted sum
    # would miss, for instance, two swapped elements that differ in nothing but the sign.
    lanes = (
        jnp.sum(_mix(bits ^ index), dtype=jnp.uint32),
        jnp.sum(_mix(bits + index * np.uint32(0x9E3779B1)), dtype=jnp.uint32),
    )
    return jnp.stack(lanes)


def _as_uint32(array: jax.Array) -> jax.Array:
    """The raw bits as uint32, 64-bit elements as two (one more axis)."""
    if array.dtype == jnp.bool_:
        return array.astype(jnp.uint32)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        array = jnp.stack([array.real, array.imag], axis=-1)
    width = array.dtype.itemsize
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[width]
    return lax.bitcast_convert_type(array, unsigned).astype(jnp.uint32)


def _mix(x: jax.Array) -> jax.Array:
    """A one-to-one scrambling of uint32 (the finalizer of MurmurHash3)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def sha256(text: str) -> str:
    """Of a text's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def seal(path: Path) -> None:
    """Writes the list of a finished checkpoint's files, and syncs all of it to disk."""
    write_json_atomic(path / _FILES, _survey(path))
    _sync(path)


def _survey(path: Path) -> dict[str, list[int]]:
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != _FILES)
    return {
        file.relative_to(path).as_posix(): [file.stat().st_size, _checksum(file)] for file in files
    }


def _checksum(file: Path) -> int:
    total = 0
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            total = zlib.crc32(block, total)
    return total


def damage(path: Path) -> str | None:
    """The first fault of a checkpoint's files; None where they are whole."""
    try:
        _check_files(path)
    except Torn as error:
        return str(error)
    return None


def _check_files(path: Path) -> None:
    """Absent the list (killed right before it was written), the arrays' digests have to do."""
    try:
        expected = read_object(path / _FILES)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise Torn(f"{_FILES} cannot be read ({error})") from error
    try:
        for name, (size, checksum) in expected.items():
            file = path / name
            if not file.is_file():
                raise Torn(f"{name} is missing")
            if file.stat().st_size != size:
                raise Torn(f"{name} has {file.stat().st_size} bytes and was written with {size}")
            if _checksum(file) != checksum:
                raise Torn(f"{name} has changed since it was written")
    except OSError as error:
        raise Torn(f"a file cannot be read ({error})") from error


def _sync(path: Path) -> None:
    """Sync all of a checkpoint to disk, before an older one is removed."""
    for root, _, names in os.walk(path):
        for entry in [root, *(os.path.join(root, name) for name in names)]:
            _sync_entry(entry)
    _sync_entry(path.parent)


def _sync_entry(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
