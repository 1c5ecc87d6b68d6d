"""Training unigram and bpe vocabularies with SentencePiece."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.text.documents import LINE_LIMIT
from electra_jax.text.tokenizers import sentencepiece_model
from electra_jax.text.tokenizers.tokenizer import Tokenizer, tokenizer_from_spiece

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""They get the ids 0 to 4 in every vocabulary that is trained here."""

_SENTENCEPIECE_THREADS = 16
"""Fixed: sums of expected counts, and so the vocabulary, depend on how the work is divided."""

_COVERAGE = 0.9995
_ASCII = frozenset(map(chr, range(0x21, 0x7F)))

_SCORE_STEP = 2.0**-8
"""Unigram scores are rounded to multiples of this: sums are then exact in single and double
precision, and equally good segmentations are resolved alike by sentencepiece and `tokenizers`."""


def train_sentencepiece(
    read_lines: Callable[[bool], Iterator[str]],
    kind: str,
    size: int,
    *,
    lower_case: bool,
    strip_accents: bool,
    character_coverage: float | None,
    byte_fallback: bool,
) -> Tokenizer:
    """Trains a unigram or bpe vocabulary; see `train_vocabulary` for the other arguments.

    Args:
      read_lines: all lines of the text; the argument is whether to show progress. Called twice
        where `character_coverage` is None.
    """
    letters = ""
    if character_coverage is None:
        character_coverage = _COVERAGE
        letters = _ascii_letters(read_lines(False), lower_case)
    with _normalization_rule(lower_case, strip_accents) as rule:
        settings = {
            "model_type": kind,
            "vocab_size": size,
            "character_coverage": character_coverage,
            "required_chars": letters,
            "byte_fallback": byte_fallback,
            **rule,
        }
        return _train(read_lines(True), settings)


def _ascii_letters(lines: Iterator[str], lower_case: bool) -> str:
    found: set[str] = set()
    for line in lines:
        found.update(line)
    text = "".join(sorted(found & _ASCII))
    return "".join(sorted(set(text.lower()))) if lower_case else text


def _train(lines: Iterator[str], settings: dict[str, Any]) -> Tokenizer:
    import sentencepiece

    model = io.BytesIO()
    # Bad input text is found while the trainer, in C++, pulls lines; it would hide the error.
    raised: list[BaseException] = []
    pad, unk, cls, sep, mask = SPECIAL_TOKENS
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_remembering_errors(lines, raised),
            model_writer=model,
            max_sentence_length=LINE_LIMIT,
            num_threads=_SENTENCEPIECE_THREADS,
            minloglevel=2,
            **settings,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            pad_piece=pad,
            unk_piece=unk,
            bos_piece=cls,
            eos_piece=sep,
            control_symbols=[mask],
        )
    except Exception as error:
        if raised:
            raise raised[0] from None
        raise _spiece_error(str(error), settings["vocab_size"]) from error
    if raised:
        raise raised[0]
    return tokenizer_from_spiece(sentencepiece_model.rounded_scores(model.getvalue(), _SCORE_STEP))


def _remembering_errors(lines: Iterator[str], raised: list[BaseException]) -> Iterator[str]:
    try:
        yield from lines
    except Exception as error:
        raised.append(error)


def _spiece_error(message: str, size: int) -> Exception:
    most = re.search(r"Vocabulary size too high.*value <= (\d+)", message)
    if most:
        return too_large(size, int(most.group(1)))
    least = re.search(r"Vocabulary size is smaller than required_chars\. \d+ vs (\d+)", message)
    if least:
        return too_small(size, int(least.group(1)))
    return RuntimeError(f"sentencepiece: {message}")


def too_small(size: int, letters: int) -> UserError:
    """The error for a vocabulary with less room than the text has letters."""
    return UserError(
        f"a vocabulary of {size} is too small for this text, whose letters alone need {letters}; "
        "raise --size or lower the character coverage"
    )


def too_large(size: int, supported: int) -> UserError:
    """The error for a vocabulary that the text does not fill."""
    return UserError(
        f"a vocabulary of {size} is larger than this text supports: it yields {supported} tokens; "
        f"use --size={supported} or less, or more text"
    )


@contextlib.contextmanager
def _normalization_rule(lower_case: bool, strip_accents: bool) -> Iterator[dict[str, Any]]:
    """SentencePiece's normalisation: NFKC, with case folding and removal of accents if enabled."""
    name = "nmt_nfkc_cf" if lower_case else "nmt_nfkc"
    if not strip_accents:
        yield {"normalization_rule_name": name}
        return
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        rules.write_text(_accent_free_rules(name), "utf-8")
        yield {"normalization_rule_tsv": str(rules)}


def _accent_free_rules(name: str) -> str:
    """The named rules with combining marks removed: lines of `from code points TAB to …`."""
    import sentencepiece

    normalize = sentencepiece.SentencePieceNormalizer(
        rule_name=name,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        escape_whitespaces=False,
    ).normalize
    rules = []
    for character in filter(_is_assigned, map(chr, range(1, sys.maxunicode + 1))):
        decomposed = unicodedata.normalize("NFD", normalize(character))
        bare = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
        result = unicodedata.normalize("NFC", bare)
        if result != character:
            rules.append(f"{_code_points(character)}\t{_code_points(result)}")
        spelled = unicodedata.normalize("NFD", character)
        if "\uac00" <= character <= "\ud7a3":  # Hangul letters make syllables
            rules.append(f"{_code_points(spelled)}\t{_code_points(result)}")
    return "\n".join(rules) + "\n"


def _is_assigned(character: str) -> bool:
    return unicodedata.category(character) not in ("Cn", "Cs", "Co")


def _code_points(text: str) -> str:
    return " ".join(f"{ord(c):X}" for c in text)
