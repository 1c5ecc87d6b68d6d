"""Files that are there whole or not at all, JSON in them, digests, locks."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError


def write_json_atomic(path: str | os.PathLike[str], obj: Any) -> None:
    """Writes `obj` as JSON; at every moment `path` holds the whole old or the whole new text.

    Raises `UserError` where the disk is full or not writable, ValueError for NaN and infinity,
    which JSON does not have.
    """
    write_text_atomic(path, json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Writes text (UTF-8) as `write_json_atomic` does."""
    path = Path(path)
    try:
        # Named after the process, so that two writers do not share a temporary file.
        replace_text(path, text, path.with_name(f".{path.name}.{os.getpid()}"))
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free space or make its folder writable"
        ) from error


def replace_text(path: Path, text: str, temporary: Path) -> None:
    """Writes and syncs `temporary`, then moves it to `path`; for callers that explain errors
    themselves. An OSError leaves `path` as it was and no temporary file."""
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_json(path: Path) -> Any:
    """The JSON value in a file. Raises OSError or ValueError where there is none; the caller knows
    what that means and the remedy."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises as `read_json`, and ValueError for another value."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class HeldError(Exception):
    """Another process holds a lock; the message is what it wrote about itself, perhaps nothing."""


class FileLock:
    """The lock on a file, which is made where it is missing; taken on construction.

    `close`, or the end of the process in whatever way, gives it back; the file stays and blocks
    nobody. A forked child does not hold it for its parent.

    path: the file.
    about: text that is written into it, for whoever finds it locked.
    optional: go on without a lock on a file system that has none.

    Raises HeldError where another process holds it, OSError where it cannot be made or locked.
    """

    def __init__(self, path: Path, about: str = "", *, optional: bool = False) -> None:
        self._descriptor: int | None = None
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held = error.errno in (errno.EWOULDBLOCK, errno.EACCES)
            holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
            if held or not optional:
                os.close(descriptor)
                raise (HeldError(holder) if held else error) from None
        self._descriptor = descriptor
        os.register_at_fork(after_in_child=self.close)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, about.encode(), 0)

    def close(self) -> None:
        """Gives the lock back. Harmless to repeat."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
