"""Atomic writes of text and JSON files, and a file's digest."""

import contextlib
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


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises OSError or ValueError where there is none, which the caller
    turns into a message with the remedy."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
