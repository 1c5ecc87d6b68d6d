"""Which tokens begin a word, in every kind of vocabulary."""

import json

import numpy as np
import pytest
import tokenizers

from electra_jax.data.rows import Rows
from electra_jax.errors import UserError
from electra_jax.text.tokenizers.tokenizer import load_tokenizer
from electra_jax.text.tokenizers.word_starts import word_starts


def starting(tokenizer):
    """{token: whether it begins a word}."""
    found = word_starts(tokenizer)
    assert found.dtype == bool and found.shape == (tokenizer.vocab_size,)
    return dict(zip(tokenizer.ids_to_tokens(range(len(found))), found.tolist(), strict=True))


def test_wordpiece_marks_what_goes_on(vocab_file):
    found = starting(load_tokenizer(vocab_file))
    assert {token for token, starts in found.items() if not starts} == {
        "##s", "##aff", "##able", "##e", "##é",
    }  # fmt: skip


def unigram(tmp_path, tokens):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    model = tokenizers.models.Unigram([(t, -1.0) for t in [*names, *tokens]], 1, False)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(tokenizers.Tokenizer(model).to_str())), "utf-8")
    return load_tokenizer(tmp_path)


def test_sentencepiece_marks_the_spaces_before_words(tmp_path):
    words = ["▁walk", "▁", "東京", "。", "か", "é", "ing", "7"]
    found = starting(unigram(tmp_path, words))
    assert [found[word] for word in words] == [True, True, True, True, True, False, False, False]
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(UserError, match=r"objective\.whole_words=True: no token"):
        word_starts(unigram(bare, ["walk", "ing"]))


def test_rows_know_their_tokenizer_s_words(vocab_file, tmp_path):
    tokenizer = load_tokenizer(vocab_file)
    tokenizer.save(tmp_path / "tokenizer")
    rows = Rows.__new__(Rows)
    rows.tokenizer_folder = tmp_path / "tokenizer"
    np.testing.assert_array_equal(rows.word_starts(), word_starts(tokenizer))
