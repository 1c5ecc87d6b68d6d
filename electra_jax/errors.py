"""The exceptions for wrong input, raised where the value enters the program."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input or configuration: one message that names what is wrong, where, and the remedy.

    The command line prints the message without a traceback and exits with code 2.
    """


class DivergedError(UserError):
    """A loss or gradient that is not finite."""


def nearest(name: str, known: Iterable[str], limit: int = 1) -> list[str]:
    """The known names, at most `limit`, that a mistyped one is near enough to for a suggestion: six
    in ten of their letters agree in order. None are better than a far-fetched one."""
    lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), lower, n=limit, cutoff=0.6)
    return [lower[one] for one in found]
