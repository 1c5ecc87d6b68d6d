"""Where what the library says of its work goes: standard error, and in a notebook standard output,
as Jupyter shows the other in red."""

from __future__ import annotations

import logging
import sys
from typing import TextIO


def message_stream() -> TextIO:
    """The stream of notes and progress."""
    ipython = sys.modules.get("IPython")  # not imported for this
    shell = ipython.get_ipython() if ipython else None
    return sys.stdout if hasattr(shell, "kernel") else sys.stderr


class _Messages(logging.Handler):
    """Writes as Python does where a program has set up no logging, but to `message_stream`."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.getLogger().handlers:  # the program's own: it has the record too
            return
        stream = message_stream()
        stream.write(f"{self.format(record)}\n")
        stream.flush()


def show_warnings() -> None:
    """From now on the package's warnings are shown, once, where its other messages are."""
    logger = logging.getLogger("electra_jax")
    if not any(isinstance(handler, _Messages) for handler in logger.handlers):
        logger.addHandler(_Messages(logging.WARNING))
