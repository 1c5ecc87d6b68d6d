"""The operating system's reason is found in whatever a library made of it."""

import errno

import pytest
from jax.errors import JaxRuntimeError

from electra_jax.training.checkpoint.disk_errors import disk_reason, first_line


def raised(error, cause=None, context=None):
    error.__cause__, error.__context__ = cause, context
    return error


# What Orbax makes of a barrier that is not reached.
LOST = JaxRuntimeError(
    "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats)"
)
LATE = JaxRuntimeError("DEADLINE_EXCEEDED: Barrier timed out. Id: async_commit_complete")


def not_reached(why):
    return raised(TimeoutError("Timed out while waiting for async_commit_complete barrier."), why)


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FULL, "No space left on device"),
        (raised(RuntimeError("save failed"), cause=FULL), "No space left on device"),
        (raised(RuntimeError("save failed"), context=FULL), "No space left on device"),
        (ValueError("UNKNOWN: [OS error 30: Read-only file system]"), "Read-only file system"),
        (TimeoutError("deadline"), "it took too long: the storage is slow, or the clock jumped"),
        (OSError(errno.ENOENT, "No such file or directory"), None),
        (not_reached(LATE), "it took too long"),
        (not_reached(LOST), None),
        (raised(TimeoutError("ChainedFuture completed 0/1 futures"), not_reached(LOST)), None),
        (raised(RuntimeError("save failed"), context=not_reached(LOST)), None),
        (TypeError("not serialisable"), None),
    ],
)
def test_the_disk_s_reason_is_found_in_causes_and_texts(error, reason):
    found = disk_reason(error)
    assert found is None if reason is None else found.startswith(reason)


def test_the_first_line_is_that_of_the_innermost_cause():
    error = raised(RuntimeError("outer"), cause=ValueError("  inner\nmore lines"))
    assert first_line(error) == "inner"
    assert first_line(KeyError()) == "KeyError"
    assert first_line(ValueError("x" * 300)) == "x" * 199 + "…"
