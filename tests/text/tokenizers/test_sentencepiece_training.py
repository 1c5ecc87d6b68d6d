"""What is added to SentencePiece's trainer: letters that stay, scores, rules, errors."""

import random

import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.sentencepiece_training import (
    SPECIAL_TOKENS,
    too_large,
    too_small,
    train_sentencepiece,
)

_draw = random.Random(0)
_WORDS = ["".join(_draw.choices("abcdefghijklmnopqrstuvwxyz", k=4)) for _ in range(200)]
# A rare capital and rare accents among 20,000 letters: below the default coverage.
LINES = [" ".join(_draw.choices(_WORDS, k=9)) for _ in range(600)] + ["Zoë naïve"]


def train(kind, size, lines=LINES, **options):
    settings = {
        "lower_case": False,
        "strip_accents": False,
        "character_coverage": None,
        "byte_fallback": False,
    }
    return train_sentencepiece(lambda shown: iter(lines), kind, size, **{**settings, **options})


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_rare_ascii_letters_keep_a_piece_and_other_rare_letters_do_not(kind):
    tokenizer = train(kind, 60)
    assert tuple(tokenizer.ids_to_tokens(range(5))) == SPECIAL_TOKENS
    assert tokenizer.id_of("Z") is not None
    assert tokenizer.id_of("ï") is None
    all_letters = train(kind, 60, character_coverage=1.0)
    assert all_letters.id_of("ï") is not None


def test_folded_and_stripped_letters_leave_no_piece_of_their_own():
    tokenizer = train("bpe", 50, lower_case=True, strip_accents=True, character_coverage=1.0)
    pieces = set(tokenizer.ids_to_tokens(range(5, 50)))
    assert not {"Z", "ï", "ë"} & set("".join(pieces))
    assert tokenizer.encode("ZOË") == tokenizer.encode("zoe")


def test_unigram_scores_are_multiples_of_the_step():
    definition = train("unigram", 60)._definition
    scores = [score for _, score in definition["model"]["vocab"]]
    assert any(scores)
    assert all(score * 256 == int(score * 256) for score in scores)


def test_an_error_while_lines_are_read_is_the_one_that_is_raised():
    def lines():
        yield from LINES[:10]
        raise UserError("line 11 is bad")

    with pytest.raises(UserError, match="line 11 is bad"):
        train_sentencepiece(
            lambda shown: lines(),
            "bpe",
            60,
            lower_case=True,
            strip_accents=False,
            character_coverage=1.0,
            byte_fallback=False,
        )


def test_sizes_that_cannot_be_are_refused_with_the_size_that_can():
    assert "use --size=70 or less" in str(too_large(90, 70))
    assert "letters alone need 40" in str(too_small(30, 40))
    with pytest.raises(UserError, match=r"4000 is larger than this text supports: it yields \d+"):
        train("unigram", 4000)
