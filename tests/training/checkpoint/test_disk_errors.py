"""The operating system's reason is found in whatever a library made of it."""

import errno

import pytest

from electra_jax.training.checkpoint.disk_errors import disk_reason, first_line


def raised(error, cause=None, context=None):
    error.__cause__, error.__context__ = cause, context
    return error


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
        (TypeError("not serialisable"), None),
    ],
)
def test_the_disk_s_reason_is_found_in_causes_and_texts(error, reason):
    found = disk_reason(error)
    assert found is None if reason is None else found.startswith(reason)


# What Orbax makes of a barrier that a process does not reach.
LOST = raised(
    TimeoutError("Timed out while waiting for async_commit_complete barrier."),
    cause=RuntimeError("UNAVAILABLE: The following tasks are unhealthy"),
)


@pytest.mark.parametrize("error", [LOST, TimeoutError("Timed out after 700 seconds.")])
def test_of_several_processes_a_timeout_is_no_disk_error(error):
    """The other one may have ended: exit code 2 would blame the user's disk."""
    assert disk_reason(error, processes=2) is None
    assert disk_reason(error, processes=1).startswith("it took too long")
    late_and_full = raised(TimeoutError("deadline"), cause=FULL)
    assert disk_reason(late_and_full, processes=2) == "No space left on device"


def test_the_first_line_is_that_of_the_innermost_cause():
    error = raised(RuntimeError("outer"), cause=ValueError("  inner\nmore lines"))
    assert first_line(error) == "inner"
    assert first_line(KeyError()) == "KeyError"
    assert first_line(ValueError("x" * 300)) == "x" * 199 + "…"
