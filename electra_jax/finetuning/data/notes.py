"""What a reader assumed about a user's files, said once."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

_said: set[str] = set()


def note(message: str) -> None:
    """Logs how a file was understood, once in a process: files may be read twice."""
    if message not in _said:
        _said.add(message)
        log.warning("note: %s", message)
