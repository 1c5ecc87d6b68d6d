"""WordPiece as the reference does it: BERT's normalizer and word splitter, then a vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError

REFERENCE_WORD_LIMIT = 200
"""Longer words become [UNK] (the reference's limit, in characters)."""
TRANSFORMERS_WORD_LIMIT = 100
"""The limit of transformers' BertTokenizer."""

CONFIG_FIELDS = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "handle_chinese_chars": "tokenize_chinese_chars",
}
"""Fields of the normalizer by their names in tokenizer_config.json."""


@dataclass(frozen=True)
class Options:
    """How text is normalised before the vocabulary is looked up.

    `strip_accents=None` means: where lower-casing. The reference strips accents only there.
    """

    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    word_limit: int = REFERENCE_WORD_LIMIT

    def overridden(self, config: dict[str, Any]) -> Options:
        """These options with the fields that are set in a tokenizer_config.json."""
        if not config:
            return self
        stated = {key: config[key] for key in CONFIG_FIELDS.values() if key in config}
        return replace(self, word_limit=TRANSFORMERS_WORD_LIMIT, **stated)


def read_vocab(file: Path) -> list[str]:
    """Tokens of a vocab.txt, one a line, stripped; the line number is the id."""
    try:
        lines = file.read_bytes().decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text: byte {error.start}") from None
    if lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UserError(f"{file} is empty, a vocabulary has one token in each line")
    return [line.strip() for line in lines]


def tokenizer_definition(vocab: Sequence[str], options: Options, source: str) -> dict[str, Any]:
    """The content of a tokenizer.json (without special tokens or post-processor)."""
    ids: dict[str, int] = {}
    for index, token in enumerate(vocab):
        if token in ids:
            # The last of equal lines counts; the earlier id stays reserved so that sizes agree.
            earlier = ids.pop(token)
            ids[f"[shadowed {earlier}]"] = earlier
        ids[token] = index
    strip = options.strip_accents
    if strip is None or not options.do_lower_case:
        strip = options.do_lower_case
    if "[UNK]" not in ids:
        raise UserError(f"{source} has no [UNK] token, so it is no WordPiece vocabulary")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": options.tokenize_chinese_chars,
            "strip_accents": strip,
            "lowercase": options.do_lower_case,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": options.word_limit,
            "vocab": ids,
        },
    }
