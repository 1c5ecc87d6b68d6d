"""Reading files line by line: .gz or not, of bounded length, with errors that name the line."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from electra_jax.errors import UserError

Stream = BinaryIO | gzip.GzipFile

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@contextlib.contextmanager
def open_bytes(path: str) -> Iterator[Stream]:
    """The bytes of a file, decompressed where its name ends in .gz.

    Raises:
      UserError: the file cannot be read, or is a damaged .gz; also while it is being read.
    """
    try:
        with open(path, "rb") as raw:
            yield gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is a damaged .gz file ({error}); make it anew") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def stored_position(stream: Stream) -> int:
    """How many bytes of the stored (maybe compressed) file have been read."""
    raw: Any = stream.fileobj if isinstance(stream, gzip.GzipFile) else stream
    return raw.tell()


def numbered_lines(
    path: str, stream: Stream, limit: int, remedy: str
) -> Iterator[tuple[int, int, bytes]]:
    """(line number from 1, byte offset, line with its end); a byte order mark is left out.

    Args:
      path: for messages.
      limit: most bytes in a line, a whole number of MiB.
      remedy: what to do about a longer line; ends the message.

    Raises:
      UserError: a line is longer than `limit`.
    """
    offset = number = 0
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) > limit:
            raise UserError(
                f"{path}:{number}: one line is longer than {limit // 2**20} MiB; {remedy}"
            )
        start, offset = offset, offset + len(line)
        if number == 1 and line.startswith(_BYTE_ORDER_MARK):
            start, line = len(_BYTE_ORDER_MARK), line[len(_BYTE_ORDER_MARK) :]
        yield number, start, line


def json_value(text: str, place: str) -> Any:
    """The JSON value of one line of a .jsonl. Raises UserError, which names `place`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "nested too deeply")
        column = getattr(error, "colno", 1)
        raise UserError(
            f"{place} is not JSON ({reason}, column {column}); each line must be a JSON object"
        ) from None
