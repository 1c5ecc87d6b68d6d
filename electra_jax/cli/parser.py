"""How every verb reads its arguments: one parser, whose errors are `UserError`s."""

from __future__ import annotations

import argparse
from typing import Any

from electra_jax.errors import UserError


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description and ends each option's help with its default."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if not _has_default(action) or "default" in text:
            return text
        return f"{text} (default: %(default)s)"


def _has_default(action: argparse.Action) -> bool:
    """Whether leaving the option out stands for a value; flags and lists are empty without."""
    empty = action.default is None or isinstance(action.default, bool | list)
    return not empty and action.default != argparse.SUPPRESS


class Parser(argparse.ArgumentParser):
    """argparse whose errors are `UserError`s, like every other wrong input; its help has every
    default."""

    def format_help(self) -> str:
        for action in self._actions:
            if action.help is None and _has_default(action):
                action.help = "default: %(default)s"
        return super().format_help()

    def error(self, message: str) -> Any:
        raise UserError(f"{message}\n{self.format_usage().strip()}")


def verb_parser(verb: str, what: str, example: str, usage: str | None = None) -> Parser:
    """The parser of a verb: what it does, and an example below its options."""
    return Parser(
        prog=f"electra-jax {verb}",
        description=what,
        epilog=f"example:\n  {example}",
        usage=usage,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
