"""The operating system's reason behind an error of storage, whichever library raised it."""

import errno
import os
from collections.abc import Iterator

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


def first_line(error: BaseException) -> str:
    """The first line of the innermost cause, in at most 200 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= 200 else line[:199] + "…"


def disk_reason(error: BaseException, processes: int = 1) -> str | None:
    """The operating system's message where a disk error caused `error`; None elsewhere.

    TensorStore passes the message on as text, so every cause's text is searched. Orbax raises a
    `TimeoutError` also where its `processes` wait in vain for one that has ended; of several it is
    therefore no disk error.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in _DISK_ERRORS:
            return os.strerror(cause.errno)
        for number in _DISK_ERRORS:
            if os.strerror(number) in str(cause):
                return os.strerror(number)
    if processes == 1 and any(isinstance(cause, TimeoutError) for cause in causes):
        # Orbax measures its deadlines with the wall clock.
        return "it took too long: the storage is slow, or the clock jumped ahead"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
