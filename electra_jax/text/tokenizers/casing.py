"""How a WordPiece vocabulary without settings was made, from its tokens: case and accents."""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from electra_jax.text.tokenizers.wordpiece import Options

log = logging.getLogger(__name__)

_SHARE = 0.01
"""Vocabularies made from text with capitals have them in a quarter of the tokens or more, those
made from lower-cased text in none but what was added by hand; accents likewise."""


def options_of(
    vocab: Sequence[str],
    source: str,
    config: dict[str, Any],
    *,
    do_lower_case: bool | None = None,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
) -> Options:
    """The options of a vocabulary: those of `config`, else those given, else what its tokens show.

    Capitals in more than 1 % of the tokens with letters that have a case mean that case is kept;
    where text is lower-cased, accents in more than 1 % of the tokens with letters mean that they
    are kept. A guess is logged, and so is a configuration that the tokens contradict.

    Args:
      vocab: all tokens; those in square brackets do not count.
      source: the file, for messages.
      config: content of the tokenizer_config.json beside it; {} where there is none.
      do_lower_case, strip_accents, tokenize_chinese_chars: of the caller; None: not known.
    """
    given = Options(True, strip_accents, tokenize_chinese_chars).overridden(config)
    stated = config.get("do_lower_case")
    if stated is None:
        stated = do_lower_case
    capitals = _Tokens.of(vocab, _has_capitals, _has_case)
    keeps = f"{capitals} have capitals"
    if stated is None:
        lower = not capitals.many
        _note(
            f"{source} comes without settings: {keeps}, so "
            + ("text is lower-cased" if lower else "case is kept")
            + f"; {_otherwise('do_lower_case', not lower)}"
            + " (or give --cased)" * lower
        )
    else:
        lower = bool(stated)
        if lower and capitals.many:
            _note(f"{source}: {keeps} and are never used, since text is lower-cased")
    strip = given.strip_accents
    if strip is None and lower:
        accents = _Tokens.of(vocab, _has_accents, _has_letters)
        keeps = f"{accents} have accents"
        if accents.many and stated is None:
            strip = False
            _note(f"{source}: {keeps}, so these are kept; {_otherwise('strip_accents', True)}")
        elif accents.many:
            # Without a setting of its own, transformers strips accents where it lower-cases.
            _note(
                f"{source}: {keeps} and are never used, since accents are stripped; "
                + _otherwise("strip_accents", False)
            )
    return replace(given, do_lower_case=lower, strip_accents=strip)


def _otherwise(key: str, value: bool) -> str:
    return (
        f'if that is wrong, write {{"{key}": {str(value).lower()}}} into a '
        "tokenizer_config.json beside it"
    )


@dataclass(frozen=True)
class _Tokens:
    """The tokens of a vocabulary that have a property, among those that could."""

    found: tuple[str, ...]
    among: int

    @classmethod
    def of(
        cls, vocab: Sequence[str], has: Callable[[str], bool], could: Callable[[str], bool]
    ) -> _Tokens:
        letters = [token for token in vocab if not (token[:1] == "[" and token[-1:] == "]")]
        letters = [token for token in letters if could(token)]
        return cls(tuple(filter(has, letters)), len(letters))

    @property
    def many(self) -> bool:
        return len(self.found) > _SHARE * self.among

    def __str__(self) -> str:
        examples = f" ({', '.join(self.found[:3])}{', …' * (len(self.found) > 3)})"
        return f"{len(self.found):,} of {self.among:,} tokens" + examples * bool(self.found)


def _has_case(token: str) -> bool:
    return token.lower() != token.upper()


def _has_capitals(token: str) -> bool:
    return any(c.isupper() or c.istitle() for c in token)


def _has_letters(token: str) -> bool:
    return any(map(str.isalpha, token))


def _has_accents(token: str) -> bool:
    """Whether stripping accents would change the token."""
    if token.isascii():
        return False
    return any(unicodedata.category(c) == "Mn" for c in unicodedata.normalize("NFD", token))


@functools.cache
def _note(message: str) -> None:
    """Logs a message once: a folder is loaded several times in one run."""
    log.warning("note: %s", message)
