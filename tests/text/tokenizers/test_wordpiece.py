"""WordPiece vocabularies: reading vocab.txt, what becomes of repeated tokens, the options."""

import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.tokenizer import load_tokenizer
from electra_jax.text.tokenizers.wordpiece import (
    REFERENCE_WORD_LIMIT,
    TRANSFORMERS_WORD_LIMIT,
    Options,
    read_vocab,
    tokenizer_definition,
)

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_options_of_a_config_override_and_bring_transformers_limit():
    options = Options(do_lower_case=True, strip_accents=False)
    assert options.overridden({}) == options
    changed = options.overridden({"do_lower_case": False, "model_max_length": 512})
    assert changed == Options(False, False, True, TRANSFORMERS_WORD_LIMIT)
    assert options.word_limit == REFERENCE_WORD_LIMIT


@pytest.mark.parametrize(
    ("lower", "strip", "stripped"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, False)],
)
def test_accents_are_stripped_only_where_case_is(lower, strip, stripped):
    definition = tokenizer_definition(SPECIAL_TOKENS, Options(lower, strip), "a test")
    assert definition["normalizer"]["strip_accents"] is stripped
    assert definition["normalizer"]["lowercase"] is lower


def test_a_vocabulary_counts_empty_lines_inside_but_not_the_end_of_the_last(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"[UNK]\r\n\n the \n")
    assert read_vocab(tmp_path / "vocab.txt") == ["[UNK]", "", "the"]


def test_without_an_unknown_token_it_is_no_vocabulary():
    with pytest.raises(UserError, match=r"here has no \[UNK\] token"):
        tokenizer_definition(["the"], Options(), "here")


def test_the_last_of_equal_lines_counts_and_the_size_is_that_of_the_file(tmp_path):
    tokens = [*SPECIAL_TOKENS, "the", "a", "the"]
    (tmp_path / "vocab.txt").write_text("\r\n".join(tokens) + "\r\n")
    tokenizer = load_tokenizer(tmp_path / "vocab.txt")
    assert tokenizer.encode("the a") == [7, 6]
    assert tokenizer.vocab_size == 8
    tokenizer.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").hash == tokenizer.hash
    assert len((tmp_path / "saved" / "vocab.txt").read_text().splitlines()) == 8


def test_words_of_200_characters_are_pieces_and_longer_ones_unknown(vocab_file):
    tokenizer = load_tokenizer(vocab_file, do_lower_case=True)
    word = "un" + "##aff"[2:] * 66
    assert len(word) == 200
    assert len(tokenizer.encode(word)) == 67
    assert tokenizer.encode(word + "s") == [tokenizer.special_ids.unk]
