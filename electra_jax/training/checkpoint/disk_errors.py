"""The operating system's reason behind an error of storage, whichever library raised it."""

import errno
import os

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


def disk_reason(error: BaseException) -> str | None:
    """The operating system's message where a disk error caused `error`; None elsewhere.

    TensorStore passes the message on as text, so every cause's text is searched.
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
