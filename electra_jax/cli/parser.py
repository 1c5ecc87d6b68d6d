"""How every verb reads its arguments: one parser, whose errors are `UserError`s."""

from __future__ import annotations

import argparse
from typing import Any

from electra_jax.errors import UserError


class Parser(argparse.ArgumentParser):
    """argparse whose errors are `UserError`s, like every other wrong input."""

    def error(self, message: str) -> Any:
        raise UserError(f"{message}\n{self.format_usage().strip()}")


def verb_parser(verb: str, what: str, example: str, usage: str | None = None) -> Parser:
    """The parser of a verb: what it does, and an example below its options."""
    return Parser(
        prog=f"electra-jax {verb}",
        description=what,
        epilog=f"example:\n  {example}",
        usage=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
