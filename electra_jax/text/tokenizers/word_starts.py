"""Which tokens of a vocabulary begin a word, for masking whole words."""

from __future__ import annotations

import numpy as np

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.tokenizer import Tokenizer

_SPACES = ("▁", "Ġ")  # of SentencePiece and of byte-level BPE: a space before the token


def word_starts(tokenizer: Tokenizer) -> np.ndarray:
    """bool [vocab_size]: whether a token begins a word.

    WordPiece marks the tokens that do not ("##ing"), other vocabularies the spaces before those
    that do ("▁walk"); there a Chinese or Japanese token and one of punctuation is a word too. What
    several Chinese characters are one word no vocabulary of characters says.

    Raises `UserError` where no token is marked.
    """
    tokens = tokenizer.ids_to_tokens(range(tokenizer.vocab_size))
    if tokenizer.kind == "wordpiece":
        starts = [not token.startswith("##") for token in tokens]
        marked = not all(starts)
    else:
        marked = any(token.startswith(_SPACES) for token in tokens)
        starts = [_begins(token) for token in tokens]
    if not marked:
        raise UserError(
            "objective.whole_words=True: no token of the rows' vocabulary is marked as a start or "
            "the rest of a word; set it to False"
        )
    return np.array(starts)


def _begins(token: str) -> bool:
    return token.startswith(_SPACES) or not token[:1].isalnum() or _is_ideograph(token[0])


def _is_ideograph(letter: str) -> bool:
    """Of scripts without spaces: Chinese characters and kana."""
    return "\u2e80" <= letter <= "\u9fff" or "\uf900" <= letter <= "\ufaff" or letter > "\U0001ffff"
