"""Checkpoints of a run: written in the background, whole or skipped. The only user of Orbax.

A state is stored as a flat dictionary from `/`-joined names to arrays, so what is on disk does not
depend on Python classes. Beside it lie the caller's `meta`, and for each array its shape, dtype and
digest: a checkpoint whose arrays do not give these digests again is not used. Once a checkpoint is
in its place, the size and checksum of each of its files are added: that names a torn file before
Orbax meets it, while the digests hold all the way from device to device.
"""

import errno
import functools
import hashlib
import json
import logging
import os
import shutil
import sys
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging as absl_logging
from etils import epath
from jax import lax

from electra_jax.errors import UserError
from electra_jax.training.checkpoint.bucket import folder_of, is_bucket
from electra_jax.training.distributed import all_agree, is_first, on_first
from electra_jax.training.workdir import write_json_atomic


class _OrbaxFilter(logging.Filter):
    """Silences Orbax below warning; every other user of the absl logger keeps its voice.

    Its tracebacks go too: each is of an exception that reaches us and is told once, by us.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        told = record.levelno >= logging.WARNING and not record.exc_info
        return told or "orbax" not in record.pathname


absl_logging.get_absl_logger().addFilter(_OrbaxFilter())

from orbax.checkpoint import v1 as ocp  # noqa: E402  it begins to talk while it is imported

_log = logging.getLogger(__name__)

_FORMAT = 1
_DISCARDED = "discarded-"  # prefix of a checkpoint on its way out: renamed first, then removed
_CORRUPT = "corrupt-"  # prefix of a checkpoint that could not be read and was put aside
_FILES = "files.json"  # {path: [bytes, CRC-32]} of a finished checkpoint
_TEMPORARY = ".orbax-checkpoint-tmp"  # part of the name of a folder that Orbax is still writing
_MAX_LISTED = 20  # differences that an error message lists

_DISK_ERRORS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EFBIG,
    errno.EIO,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


class Checkpoints:
    """The checkpoints of one run, in `folder/STEP/`.

    keep: how many of the newest stay.
    keep_every: those whose step it divides stay for ever.
    asynchronous: `save` returns once the arrays may be donated; a thread writes.
    folder: on a file system, or a URL such as gs://BUCKET/FOLDER.

    One process group writes; a reader changes nothing on disk before its first `save`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep: int = 3,
        keep_every: int | None = None,
        asynchronous: bool = True,
    ) -> None:
        if keep < 1:
            raise UserError(f"train.keep is {keep}: at least one checkpoint has to be kept")
        if keep_every is not None and keep_every < 1:
            raise UserError(f"keep_every is {keep_every}: give a number of steps, 1 or more")
        self._bucket = is_bucket(folder)
        self.folder = folder_of(folder) if self._bucket else Path(folder).absolute()
        self._keep = keep
        self._keep_every = keep_every
        self._asynchronous = asynchronous
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._corrupt: set[int] = set()
        self._tidied = False

    def save(self, step: int, state: Any, meta: dict[str, Any]) -> None:
        """Write `state` (a tree of arrays) and `meta` (JSON) as checkpoint `step`.

        On return the arrays may be donated. An error of an earlier asynchronous save is raised
        here or in `wait`. An existing checkpoint of the same step is replaced.

        Raises UserError where the disk is full or cannot be written; older checkpoints stay.
        """
        self.wait()
        _drop_late_callbacks()
        path = self.folder / str(step)
        arrays = _flatten(state)
        document = json.dumps(
            {
                "format": _FORMAT,
                "step": step,
                "meta": meta,
                "arrays": {
                    name: {**_signature(array), "digest": digest}
                    for (name, array), digest in zip(
                        arrays.items(), digests(list(arrays.values())), strict=True
                    )
                },
            }
        )
        on_first(functools.partial(self._make_room, path))
        try:
            response = ocp.save_async(
                path,
                {name: array for name, array in arrays.items() if array.size},
                custom_metadata={"document": document, "sha256": _sha256(document)},
            )
        except Exception as error:
            self._remove_unfinished()
            raise self._explain(error, path) from error
        self._pending = self._thread.submit(self._finish, response, path)
        if not self._asynchronous:
            self.wait()

    def restore(
        self, abstract_state: Any, *, step: int | None = None
    ) -> tuple[int, Any, dict[str, Any]] | None:
        """Return (step, state, meta) of the newest whole checkpoint; None where there is none.

        abstract_state: tree of `jax.ShapeDtypeStruct`; each leaf's sharding says where its array
            goes (any mesh, not only the one that wrote it), none means the first local device.
        step: take this one and no other.

        A checkpoint that cannot be read, or whose arrays differ from their digests, is skipped with
        a warning that names it. Raises UserError where the stored names, shapes or dtypes differ
        from the asked, and where checkpoints are there but none of them is whole.
        """
        self.wait()
        steps = on_first(self._listed)
        if step is not None:
            if step not in steps:
                raise UserError(f"no checkpoint of step {step} in {self.folder}, only {steps}")
            steps = [step]
        for candidate in reversed(steps):
            path = self.folder / str(candidate)
            torn = None if self._bucket else on_first(functools.partial(_damage, path))
            if torn is None:
                try:
                    document = _read_document(path)
                    _check_tree(document["arrays"], _flatten(abstract_state), path)
                    state = _load(path, abstract_state, document["arrays"])
                except _Torn as error:
                    torn = str(error)
                if all_agree(torn is None):
                    return document["step"], state, document["meta"]
            self._corrupt.add(candidate)
            if is_first():
                reason = torn or "another process of this run could not read it"
                _log.warning("checkpoint %s is skipped: %s", path, reason)
        if steps:
            raise UserError(
                f"no checkpoint in {self.folder} can be read (tried {steps[::-1]}; the reasons are "
                "in the warnings above); bring one back from a copy, or move the folder away to "
                "begin at step 0"
            )
        return None

    def steps(self) -> list[int]:
        """Steps of the finished checkpoints, ascending, without those that `restore` skipped."""
        return [step for step in self._listed() if step not in self._corrupt]

    def _listed(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.folder.iterdir() if entry.name.isdecimal())

    def wait(self) -> None:
        """Return when no save is under way; raises what went wrong in one."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Finish the save under way and stop the writing thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finish(self, response: Any, path: Path) -> None:
        """In the writing thread: wait for Orbax, make it durable, then drop what is too old."""
        try:
            response.result()
            if is_first():
                if not self._bucket:  # a bucket checks its objects itself
                    write_json_atomic(path / _FILES, _survey(path))
                    _sync(path)
                for step in self._superseded():
                    self._discard(self.folder / str(step))
        except Exception as error:
            # What a failed save left behind takes space that the next one may need.
            self._remove_unfinished()
            raise self._explain(error, path) from error

    def _superseded(self) -> list[int]:
        older = self.steps()[: -self._keep]
        return [s for s in older if self._keep_every is None or s % self._keep_every != 0]

    def _make_room(self, path: Path) -> None:
        """Before a save: make the folder, remove what is in the way."""
        try:
            self._tidy()
            if path.exists():
                self._discard(path)
        except OSError as error:
            raise self._explain(error, path) from error

    def _tidy(self) -> None:
        """Before the first save: remove what killed runs left, put corrupt checkpoints aside."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._tidied:
            self._remove_unfinished()
            self._tidied = True
        for step in sorted(self._corrupt):
            # Kept for whoever wants to know why, but neither counted nor tried again.
            aside = self.folder / f"{_CORRUPT}{step}"
            if aside.exists():
                epath.Path(aside).rmtree()
            (self.folder / str(step)).rename(aside)
        self._corrupt.clear()

    def _remove_unfinished(self) -> None:
        if not is_first() or not self.folder.is_dir():
            return
        for entry in self.folder.iterdir():
            if _TEMPORARY in entry.name or entry.name.startswith(_DISCARDED):
                epath.Path(entry).rmtree(missing_ok=True)

    def _discard(self, path: Path) -> None:
        """Remove a checkpoint so that a kill in between leaves no half of it under its name."""
        if self._bucket:  # it renames by copying; half a checkpoint is skipped for its digests
            epath.Path(path).rmtree()
            return
        condemned = path.with_name(f"{_DISCARDED}{path.name}")
        shutil.rmtree(condemned, ignore_errors=True)
        path.rename(condemned)
        shutil.rmtree(condemned)

    def _explain(self, error: Exception, path: Path) -> Exception:
        """The UserError for a full, unwritable or slow disk; where it is none, the error itself."""
        reason = _disk_reason(error)
        if reason is None:
            return error
        kept = self.steps()
        stays = f"checkpoint {kept[-1]} stays" if kept else "there is no earlier checkpoint"
        return UserError(
            f"cannot write checkpoint {path}: {reason}; {stays}. Free space or make the folder "
            "writable, then give the same command again"
        )


def digests(arrays: list[jax.Array]) -> list[str]:
    """One 16-digit hexadecimal digest per array, of its raw bits and their places.

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
    """uint32 [2]: two wrap-around sums of hash(element xor hash(place))."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    words = _words(array)
    place = jnp.zeros(words.shape, jnp.uint32)
    stride = 1
    for axis in reversed(range(words.ndim)):
        # Arithmetic modulo 2^32 throughout: sums in any order, so any sharding, give the same.
        along = lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        place = place + along * np.uint32(stride % 2**32)
        stride *= words.shape[axis]
    place = _mix(place)
    # The hash is one-to-one in the element, so a single change cannot cancel. A plain weighted sum
    # would miss, for instance, two swapped elements that differ in nothing but the sign.
    lanes = (
        jnp.sum(_mix(words ^ place), dtype=jnp.uint32),
        jnp.sum(_mix(words + place * np.uint32(0x9E3779B1)), dtype=jnp.uint32),
    )
    return jnp.stack(lanes)


def _words(array: jax.Array) -> jax.Array:
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


@functools.cache
def _drop_late_callbacks() -> None:
    """After a failed save, writes that were still under way report to Orbax's event loop, which is
    closed by then; the traceback that the C++ side prints says nothing the error did not."""
    print_exception, print_unraisable = sys.excepthook, sys.unraisablehook

    def late(error: BaseException | None) -> bool:
        return isinstance(error, RuntimeError) and str(error) == "Event loop is closed"

    def on_exception(kind: Any, error: BaseException, trace: Any) -> None:
        if not late(error):
            print_exception(kind, error, trace)

    def on_unraisable(unraisable: Any) -> None:
        if not late(unraisable.exc_value):
            print_unraisable(unraisable)

    sys.excepthook, sys.unraisablehook = on_exception, on_unraisable


class _Torn(Exception):
    """A checkpoint that cannot be used; the message is the reason."""


def _flatten(tree: Any) -> dict[str, Any]:
    """{`params/electra/…/kernel`: leaf}, in the tree's own order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    named = {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in leaves}
    if len(named) != len(leaves):
        raise ValueError("two leaves of the state have the same name")
    return named


def _signature(array: Any) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's files; None where nothing is."""
    try:
        _check_files(path)
    except _Torn as error:
        return str(error)
    return None


def _check_files(path: Path) -> None:
    """Absent the list (killed right before it was written), the arrays' digests have to do."""
    try:
        expected = json.loads((path / _FILES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _Torn(f"{_FILES} cannot be read ({error})") from error
    try:
        for name, (size, checksum) in expected.items():
            file = path / name
            if not file.is_file():
                raise _Torn(f"{name} is missing")
            if file.stat().st_size != size:
                raise _Torn(f"{name} has {file.stat().st_size} bytes and was written with {size}")
            if _checksum(file) != checksum:
                raise _Torn(f"{name} has changed since it was written")
    except OSError as error:
        raise _Torn(f"a file cannot be read ({error})") from error


def _read_document(path: Path) -> dict[str, Any]:
    try:
        stored = ocp.checkpointables_metadata(path).custom_metadata
        assert isinstance(stored, dict)
        text = stored["document"]
        expected = stored["sha256"]
    except Exception as error:
        raise _Torn(f"its metadata cannot be read ({_first_line(error)})") from error
    if _sha256(text) != expected:
        raise _Torn("its metadata differs from its digest")
    document = json.loads(text)
    if document["format"] != _FORMAT:
        raise UserError(
            f"checkpoint {path} has format {document['format']}, this version reads {_FORMAT}: "
            "use the version of electra_jax that wrote it"
        )
    return document


def _check_tree(stored: dict[str, Any], asked: dict[str, Any], path: Path) -> None:
    lines = [f"  only in the checkpoint: {name}" for name in stored if name not in asked]
    lines += [f"  not in the checkpoint: {name}" for name in asked if name not in stored]
    for name in asked.keys() & stored.keys():
        here, there = _signature(asked[name]), stored[name]
        if (here["shape"], here["dtype"]) != (there["shape"], there["dtype"]):
            lines.append(
                f"  {name}: checkpoint {there['dtype']}{there['shape']}, "
                f"this run {here['dtype']}{here['shape']}"
            )
    if lines:
        shown = sorted(lines)[:_MAX_LISTED]
        more = f"\n  … and {len(lines) - len(shown)} more" if len(lines) > len(shown) else ""
        raise UserError(
            f"checkpoint {path} does not fit this run's model and optimizer:\n"
            + "\n".join(shown)
            + more
            + "\nResume with the configuration that wrote it, or choose another workdir"
        )


def _load(path: Path, abstract_state: Any, stored: dict[str, Any]) -> Any:
    asked = {name: _with_sharding(leaf) for name, leaf in _flatten(abstract_state).items()}
    try:
        loaded = ocp.load(path, {name: leaf for name, leaf in asked.items() if leaf.size})
        for name, leaf in asked.items():
            if not leaf.size:  # Orbax refuses arrays without elements, so none were written
                loaded[name] = jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding)
    except Exception as error:
        raise _Torn(f"its arrays cannot be read ({_first_line(error)})") from error
    found = digests([loaded[name] for name in asked])
    wrong = [n for n, digest in zip(asked, found, strict=True) if digest != stored[n]["digest"]]
    if wrong:
        raise _Torn(f"{len(wrong)} arrays differ from their digests, {wrong[0]} the first of them")
    leaves = [loaded[name] for name in asked]
    return jax.tree.unflatten(jax.tree.structure(abstract_state), leaves)


def _with_sharding(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _sync(path: Path) -> None:
    """Ask the disk to hold all of a checkpoint before an older one is removed."""
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


def _first_line(error: BaseException) -> str:
    """What went wrong at the bottom, in at most 200 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= 200 else line[:199] + "…"


def _disk_reason(error: BaseException) -> str | None:
    """What the operating system said, where that is why `error` was raised; None elsewhere.

    TensorStore passes the system's words on as text, so they are looked for in every cause.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TimeoutError):  # Orbax measures its deadlines with the wall clock
            return "it took too long: the storage is slow, or the clock jumped ahead"
        if isinstance(seen, OSError) and seen.errno in _DISK_ERRORS:
            return os.strerror(seen.errno)
        for number in _DISK_ERRORS:
            if os.strerror(number) in str(seen):
                return os.strerror(number)
        seen = seen.__cause__ or seen.__context__
    return None
