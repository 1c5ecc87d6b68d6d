"""Writing a rows folder: shards, journal, rows.json.

The folder is whole if and only if rows.json is there: it is written last and moved into place.
Until then `unfinished.json` says how far the shards are valid, so that a run can go on.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from electra_jax.data.row_format import (
    DTYPES,
    MANIFEST,
    SPLITS,
    TOKENIZER_FOLDER,
    Split,
    fingerprint,
    shard_name,
)
from electra_jax.errors import UserError
from electra_jax.files import FileLock, HeldError, read_object, replace_text, sha256_of
from electra_jax.text.corpus import READ_WHEN_ABSENT

SHARD_BYTES = 2**28
JOURNAL = "unfinished.json"
_LOCK = ".lock"


@dataclass
class Progress:
    """What is safely written: the next block and all totals up to it."""

    next_block: int = 0
    splits: dict[str, Split] = field(default_factory=lambda: {name: Split() for name in SPLITS})
    counts: dict[str, int] = field(default_factory=dict)


class RowsWriter:
    """Appends rows to the shards of both splits of one folder.

    Use as a context manager; on the way out, whatever the reason, the journal is updated.
    """

    def __init__(self, folder: Path, seq_len: int, dtype: str, settings: dict[str, Any]):
        """`settings` is everything that the rows depend on; a journal with others is refused."""
        self._folder = folder
        self._dtype = DTYPES[dtype]
        self._row_bytes = seq_len * self._dtype.itemsize
        self._shard_rows = max(1, SHARD_BYTES // self._row_bytes)
        self._settings = settings
        self._open: dict[str, tuple[Path, BinaryIO]] = {}
        self._lock = _locked(folder)
        self._finished = False
        self.progress = self._resume()

    def __enter__(self) -> RowsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        try:
            if not self._finished:
                with disk_errors(self._folder):
                    self.checkpoint()
        except UserError:
            if kind is None:
                raise
        finally:
            for _, stream in self._open.values():
                with contextlib.suppress(OSError):
                    stream.close()
            self._lock.close()

    def append(self, added: Progress, rows: dict[str, np.ndarray]) -> None:
        """Adds one block's rows [n, seq_len] to each split; `added` is the progress with them.

        The progress changes at once or not at all: rows of a block that failed are overwritten.
        """
        for split, block in rows.items():
            written = self.progress.splits[split].rows
            data = np.ascontiguousarray(block, self._dtype)
            while len(data):
                shard, inside = divmod(written, self._shard_rows)
                part = data[: self._shard_rows - inside]
                stream = self._stream(split, shard)
                stream.seek(inside * self._row_bytes)
                stream.write(part.tobytes())
                written += len(part)
                data = data[len(part) :]
        self.progress = added

    def checkpoint(self) -> None:
        """Makes all that was appended survive a crash."""
        for _, stream in self._open.values():
            stream.flush()
            os.fsync(stream.fileno())
        journal = {"settings": self._settings, "progress": asdict(self.progress)}
        write_json(self._folder / JOURNAL, journal)

    def finish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Completes `manifest` with splits and fingerprint, writes rows.json, drops the journal."""
        self.checkpoint()
        for _, stream in self._open.values():
            stream.close()
        self._open.clear()
        splits = {name: self._describe(name) for name, s in self.progress.splits.items() if s.rows}
        whole = {**manifest, "fingerprint": fingerprint(manifest, splits), "splits": splits}
        whole["statistics"] = whole.pop("statistics")  # the longest part last
        write_json(self._folder / MANIFEST, whole)
        for name in (JOURNAL, _LOCK):
            (self._folder / name).unlink(missing_ok=True)
        self._finished = True
        return whole

    def _describe(self, name: str) -> dict[str, Any]:
        split = self.progress.splits[name]
        shards = []
        for shard in range(-(-split.rows // self._shard_rows)):
            rows = min(self._shard_rows, split.rows - shard * self._shard_rows)
            path = self._path(name, shard)
            shards.append({"file": path.name, "rows": rows, "sha256": sha256_of(path)})
        return {**asdict(split), "shards": shards}

    def _path(self, split: str, shard: int) -> Path:
        return self._folder / shard_name(split, shard)

    def _stream(self, split: str, shard: int) -> BinaryIO:
        path = self._path(split, shard)
        current = self._open.get(split)
        if current is not None and current[0] == path:
            return current[1]
        if current is not None:
            current[1].flush()
            os.fsync(current[1].fileno())
            current[1].close()
        stream = open(path, "r+b" if path.exists() else "w+b")
        self._open[split] = path, stream
        return stream

    def _resume(self) -> Progress:
        """Progress of an interrupted run with the same settings; cuts its shards back to it."""
        journal = read_json(self._folder / JOURNAL)
        progress = Progress()
        if journal is not None and journal["settings"] == self._settings:
            state = journal["progress"]
            splits = {name: Split(**state["splits"][name]) for name in SPLITS}
            progress = Progress(state["next_block"], splits, state["counts"])
            if not all(self._present(name, splits[name].rows) for name in SPLITS):
                progress = Progress()
        for name in SPLITS:
            self._cut(name, progress.splits[name].rows)
        return progress

    def _present(self, name: str, rows: int) -> bool:
        for shard in range(-(-rows // self._shard_rows)):
            path = self._path(name, shard)
            size = min(self._shard_rows, rows - shard * self._shard_rows) * self._row_bytes
            if not path.exists() or path.stat().st_size < size:
                return False
        return True

    def _cut(self, name: str, rows: int) -> None:
        for path in sorted(self._folder.glob(f"{name}-[0-9]*.bin")):
            shard = int(path.stem.rpartition("-")[2])
            keep = min(self._shard_rows, rows - shard * self._shard_rows)
            if keep <= 0:
                path.unlink()
            else:
                os.truncate(path, keep * self._row_bytes)


def finished_rows(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """rows.json of a finished folder made with `settings`; None where rows are still to be made.

    Raises UserError where the folder holds other rows or other files.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose another --output")
    manifest = read_json(folder / MANIFEST)
    if manifest is not None:
        found = manifest.get("settings", {})
        differences = [
            f"{key} was {_shown(key, found)}, is now {_shown(key, settings)}"
            for key in sorted({*found, *settings})
            if found.get(key) != settings.get(key)
        ]
        if differences:
            raise UserError(
                f"{folder} holds finished rows made with other settings ({'; '.join(differences)});"
                " choose another --output, or delete it first"
            )
        return manifest
    ours = (JOURNAL, TOKENIZER_FOLDER, *(f"{split}-" for split in SPLITS), ".")
    others = [p.name for p in folder.iterdir()] if folder.exists() else []
    strange = sorted(name for name in others if not name.startswith(ours))
    if strange:
        raise UserError(
            f"{folder} is not a rows folder (it holds {', '.join(strange[:3])}); choose another "
            "--output"
        )
    return None


def _shown(key: str, settings: dict[str, Any]) -> str:
    value = settings.get(key, READ_WHEN_ABSENT.get(key))
    if isinstance(value, dict):  # inputs
        return "{files} files of {bytes} bytes (digest {digest})".format(**value)
    return str(value)


def _locked(folder: Path) -> FileLock:
    """Holds the folder against a second writer; the lock of a dead process does not count."""
    try:
        return FileLock(folder / _LOCK, optional=True)
    except HeldError:
        raise UserError(
            f"another process is writing {folder}; wait for it or choose another --output"
        ) from None


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns errors of the file system under `folder` into UserErrors that name it."""
    try:
        yield
    except OSError as error:
        remedy = {
            errno.ENOSPC: "free some space and run the same command again: it goes on from there",
            errno.EDQUOT: "raise the quota and run the same command again: it goes on from there",
        }.get(error.errno or 0, "choose another --output")
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {folder}: {reason}; {remedy}") from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes the whole file or nothing."""
    # One name for every process (the lock admits one): what a killed one left is written over.
    replace_text(path, json.dumps(content, indent=1) + "\n", path.with_name(f".{path.name}.tmp"))


def read_json(path: Path) -> dict[str, Any] | None:
    """The content, or None where there is no readable JSON object."""
    try:
        return read_object(path)
    except (OSError, ValueError):
        return None
