"""Standard input and pipes as files: read once, kept in a temporary file while the program runs."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from electra_jax.errors import UserError

log = logging.getLogger(__name__)

STANDARD_INPUT = "-"

_PIECE = 2**20
_GZIP = b"\x1f\x8b"
_kept: list[tempfile.TemporaryDirectory[str]] = []  # deleted when the program ends


def is_stream(path: str) -> bool:
    """Whether a path is standard input or a pipe, which can be read only once."""
    if path == STANDARD_INPUT or path.startswith(("/dev/fd/", "/proc/self/fd/")):
        return True
    if path == "/dev/stdin":
        return True
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def stored_stream(path: str) -> str:
    """Copies a stream to a temporary file and returns its path.

    The name tells the format: .jsonl where the text begins with "{", else .txt, with .gz where it
    is compressed; and it holds a digest, so that the same content is the same input. The file is
    deleted when the program ends.

    Raises:
      UserError: a terminal, nothing in the stream, or no room for it.
    """
    folder = tempfile.TemporaryDirectory(prefix="electra_jax-")
    _kept.append(folder)
    file = Path(folder.name) / "stream"
    digest = hashlib.sha256()
    try:
        with _opened(path) as stream, open(file, "wb") as copy:
            while part := stream.read(_PIECE):
                digest.update(part)
                copy.write(part)
    except OSError as error:
        raise UserError(
            f"{path} cannot be kept in {folder.name}: {error.strerror or error} (TMPDIR=FOLDER "
            "names another place)"
        ) from None
    if file.stat().st_size == 0:
        raise UserError(f"{path}: nothing came from this pipe")
    named = file.with_name(f"stdin-{digest.hexdigest()[:16]}.{_format(file)}")
    file.rename(named)
    os.utime(named, (0, 0))  # the digest tells whether it has changed, its age does not
    log.warning("note: %s is read as .%s", path, named.name.partition(".")[2])
    return str(named)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.isatty():
            raise UserError("standard input is a terminal: pipe text into the command")
        yield sys.stdin.buffer
    else:
        with open(path, "rb") as stream:
            yield stream


def _format(file: Path) -> str:
    import gzip

    with open(file, "rb") as raw:
        compressed = raw.read(len(_GZIP)) == _GZIP
    try:
        with gzip.open(file) if compressed else open(file, "rb") as stream:
            begins = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    except (OSError, EOFError):  # damaged: whoever reads it says so
        begins = b""
    return ("jsonl" if begins.startswith(b"{") else "txt") + ".gz" * compressed
