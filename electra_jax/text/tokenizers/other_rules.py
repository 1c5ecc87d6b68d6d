"""Tokenizers whose class changes text or ids in ways that their vocabulary's file does not hold.

Read without its class such a vocabulary would give other ids, so they are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from electra_jax.errors import UserError

_RENUMBERS = ("XLMRoberta", "Camembert", "MBart", "Barthez", "Pegasus", "M2M100", "Nllb")
_LOWER_CASES = ("Albert",)  # unless the configuration says otherwise
_STRIPS_ACCENTS = ("Albert", "XLNet")
_REMEDY = (
    "save it with transformers (AutoTokenizer … save_pretrained) so that tokenizer.json is there"
)


def refuse_words_of_others(config: dict[str, Any], source: str) -> None:
    """Raises UserError for a vocab.txt whose words are not BERT's, as of Japanese tokenizers."""
    name = str(config.get("tokenizer_class"))
    words = config.get("word_tokenizer_type", "mecab" if "Japanese" in name else "basic")
    pieces = config.get("subword_tokenizer_type", "wordpiece")
    if (words, pieces) != ("basic", "wordpiece"):
        raise UserError(
            f"{source} is the vocabulary of a tokenizer ({name}) whose words are found by {words} "
            f"and split by {pieces}; only BERT's words, split by wordpiece, are supported"
        )


def refuse_renumbered(config: dict[str, Any], source: str) -> None:
    """Raises UserError for a SentencePiece model whose tokenizer gives other ids than it."""
    if any(name in str(config.get("tokenizer_class")) for name in _RENUMBERS):
        raise UserError(f"{source} belongs to a tokenizer that renumbers its ids; {_REMEDY}")


def refuse_changed_text(
    config: dict[str, Any], normalize: Callable[[str], str], source: str
) -> None:
    """Raises UserError for a SentencePiece model whose tokenizer lower-cases or strips accents
    before it, where the model itself, by `normalize`, does not."""
    name = str(config.get("tokenizer_class"))
    lower = config.get("do_lower_case", any(other in name for other in _LOWER_CASES))
    keeps_accents = config.get("keep_accents", not any(other in name for other in _STRIPS_ACCENTS))
    if lower and normalize("A") != normalize("a"):
        raise UserError(f"{source} keeps case, but its tokenizer ({name}) lower-cases; {_REMEDY}")
    if not keeps_accents and normalize("é") != normalize("e"):
        raise UserError(
            f"{source} keeps accents, but its tokenizer ({name}) strips them; {_REMEDY}"
        )
