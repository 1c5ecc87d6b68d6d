"""Checkpoints of a run: written in the background, whole or skipped. The only user of Orbax.

A state is stored as a flat dictionary from `/`-joined names to arrays, so what is on disk does not
depend on Python classes. Beside it lie the caller's `meta`, and for each array its shape, dtype and
digest: a checkpoint whose arrays do not give these digests again is not used. Once a checkpoint is
in its place, the size and checksum of each of its files are added (`integrity.py`).
"""

import functools
import json
import logging
import os
import shutil
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging as absl_logging
from etils import epath

from electra_jax.errors import UserError
from electra_jax.training.checkpoint.bucket import folder_of, is_bucket
from electra_jax.training.checkpoint.disk_errors import disk_reason, first_line
from electra_jax.training.checkpoint.integrity import Torn, damage, digests, seal, sha256
from electra_jax.training.distributed import all_agree, is_first, on_first


class _OrbaxFilter(logging.Filter):
    """Drops Orbax's records below warning, and its tracebacks: each belongs to an exception that
    reaches the caller, who reports it. Other users of the absl logger are not affected."""

    def filter(self, record: logging.LogRecord) -> bool:
        shown = record.levelno >= logging.WARNING and not record.exc_info
        return shown or "orbax" not in record.pathname


@functools.cache
def _orbax() -> Any:
    """Orbax's interface, imported when the first checkpoint is read or written: it takes half a
    second, which a new run spends better on its first step."""
    # It logs while it is imported.
    absl_logging.get_absl_logger().addFilter(_OrbaxFilter())
    from orbax.checkpoint import v1

    return v1


_log = logging.getLogger(__name__)

_FORMAT = 1
_DISCARDED = "discarded-"  # prefix of a checkpoint that is being removed: renamed first
_CORRUPT = "corrupt-"  # prefix of a checkpoint that could not be read and was put aside
_TEMPORARY = ".orbax-checkpoint-tmp"  # part of the name of a folder that Orbax is still writing
_MAX_LISTED = 20  # differences that an error message lists


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
            response = _orbax().save_async(
                path,
                {name: array for name, array in arrays.items() if array.size},
                custom_metadata={"document": document, "sha256": sha256(document)},
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
        from those of `abstract_state`, and where no existing checkpoint is whole.
        """
        self.wait()
        steps = on_first(self._listed)
        if step is not None:
            if step not in steps:
                raise UserError(f"no checkpoint of step {step} in {self.folder}, only {steps}")
            steps = [step]
        for candidate in reversed(steps):
            path = self.folder / str(candidate)
            torn = None if self._bucket else on_first(functools.partial(damage, path))
            if torn is None:
                try:
                    document = _read_document(path)
                    _check_tree(document["arrays"], _flatten(abstract_state), path)
                    state = _load(path, abstract_state, document["arrays"])
                except Torn as error:
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
                    seal(path)
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
        """The UserError for a full, unwritable or slow disk; any other error unchanged."""
        reason = disk_reason(error, jax.process_count())
        if reason is None:
            return error
        kept = self.steps()
        stays = f"checkpoint {kept[-1]} stays" if kept else "there is no earlier checkpoint"
        return UserError(
            f"cannot write checkpoint {path}: {reason}; {stays}. Free space or make the folder "
            "writable, then give the same command again"
        )


@functools.cache
def _drop_late_callbacks() -> None:
    """After a failed save, writes that were still under way report to Orbax's event loop, which is
    closed by then; the traceback that the C++ side prints adds nothing to the error."""
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


def _flatten(tree: Any) -> dict[str, Any]:
    """{`params/electra/…/kernel`: leaf}, in the tree's own order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    named = {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in leaves}
    if len(named) != len(leaves):
        raise ValueError("two leaves of the state have the same name")
    return named


def _signature(array: Any) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}


def _read_document(path: Path) -> dict[str, Any]:
    try:
        stored = _orbax().checkpointables_metadata(path).custom_metadata
        assert isinstance(stored, dict)
        text = stored["document"]
        expected = stored["sha256"]
    except Exception as error:
        raise Torn(f"its metadata cannot be read ({first_line(error)})") from error
    if sha256(text) != expected:
        raise Torn("its metadata differs from its digest")
    document = json.loads(text)
    if document["format"] != _FORMAT:
        raise UserError(
            f"checkpoint {path} has format {document['format']}, this version reads {_FORMAT}: "
            "use the version of electra_jax that wrote it"
        )
    return document


def _check_tree(stored: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    lines = [f"  only in the checkpoint: {name}" for name in stored if name not in expected]
    lines += [f"  not in the checkpoint: {name}" for name in expected if name not in stored]
    for name in expected.keys() & stored.keys():
        here, there = _signature(expected[name]), stored[name]
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
    expected = {name: _with_sharding(leaf) for name, leaf in _flatten(abstract_state).items()}
    try:
        loaded = _orbax().load(path, {name: leaf for name, leaf in expected.items() if leaf.size})
        for name, leaf in expected.items():
            if not leaf.size:  # Orbax refuses arrays without elements, so none were written
                loaded[name] = jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding)
    except Exception as error:
        raise Torn(f"its arrays cannot be read ({first_line(error)})") from error
    found = digests([loaded[name] for name in expected])
    wrong = [n for n, digest in zip(expected, found, strict=True) if digest != stored[n]["digest"]]
    if wrong:
        raise Torn(f"{len(wrong)} arrays differ from their digests, {wrong[0]} the first of them")
    leaves = [loaded[name] for name in expected]
    return jax.tree.unflatten(jax.tree.structure(abstract_state), leaves)


def _with_sharding(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
