"""Files that are there whole or not at all, JSON in them, and the digest of one."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError


def write_json_atomic(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as JSON so that at every moment `path` holds the old or the new text, whole.

    Raises UserError where the disk is full or cannot be written, ValueError for a number that JSON
    has no word for.
    """
    write_text_atomic(path, json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """As `write_json_atomic`, for text (UTF-8)."""
    path = Path(path)
    try:
        # Named for the process, so that two writers cannot mix their halves.
        replace_text(path, text, path.with_name(f".{path.name}.{os.getpid()}"))
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free space or make its folder writable"
        ) from error


def replace_text(path: Path, text: str, temporary: Path) -> None:
    """Writes `temporary`, lets the disk hold it, and moves it to `path`: for a writer that explains
    errors itself. An OSError leaves `path` as it was and no temporary file."""
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


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. OSError or ValueError where there is none: what that means, and
    what to do, the reader knows."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
