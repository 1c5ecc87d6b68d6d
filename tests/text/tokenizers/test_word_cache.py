"""The cache gives the ids that the tokenizer gives, whatever it has seen before."""

import pytest

from electra_jax.text.tokenizers.tokenizer import load_tokenizer
from electra_jax.text.tokenizers.word_cache import WordCache, exact_cuts
from electra_jax.text.tokenizers.wordpiece import Options, tokenizer_definition

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture
def definition():
    return tokenizer_definition(SPECIAL_TOKENS, Options(), "a test")


def test_a_word_is_encoded_once_and_the_parts_around_it_only_when_new(definition):
    asked = []

    def encode_each(parts):
        asked.extend(parts)
        return [[ord(character) for character in part] for part in parts]

    cache = WordCache.for_definition(definition, encode_each)
    ids, counts = cache.encode(["ab cd ab", "", "(ab,"])
    assert ids.tolist() == list(map(ord, "abcdab(ab,"))
    assert counts.tolist() == [6, 0, 4]
    assert sorted(asked) == ["(", ",", "ab", "cd"]
    cache.encode(["cd (ab, ab"])
    assert len(asked) == 4


def test_long_parts_are_not_kept(definition):
    asked = []

    def encode_each(parts):
        asked.extend(parts)
        return [[len(part)] for part in parts]

    cache = WordCache.for_definition(definition, encode_each)
    for _ in range(2):
        assert cache.encode(["x" * 33])[0].tolist() == [33]
        assert cache.encode(["y" * 32])[0].tolist() == [32]
    assert sorted(map(len, asked)) == [32, 33, 33]


def test_texts_are_cut_where_the_tokenizer_cuts_them(definition):
    cuts = exact_cuts(definition)
    assert cuts.coarse("a b,c 中文d") == ["a", "b,c", "中", "文", "d"]
    assert cuts.fine("(b-c)") == ["(", "b", "-", "c", ")"]
    definition["normalizer"]["handle_chinese_chars"] = False
    assert exact_cuts(definition).coarse("a 中文d") == ["a", "中文d"]


@pytest.mark.parametrize(
    "change",
    [
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"normalizer": {"type": "Lowercase"}},
        {"added_tokens": [{"special": False, "content": "New York"}]},
    ],
)
def test_no_cut_is_made_where_it_might_change_the_ids(definition, change):
    assert exact_cuts({**definition, **change}) is None


def test_words_are_forgotten_when_there_are_too_many(vocab_file, monkeypatch):
    monkeypatch.setattr("electra_jax.text.tokenizers.word_cache.MAX_ENTRIES", 3)
    tokenizer = load_tokenizer(vocab_file, do_lower_case=True)
    for _ in range(3):
        for text in ["the cafe", "unaffable (the) café.", "中文 a,the", ""]:
            assert tokenizer.encode_flat([text])[0].tolist() == tokenizer.encode(text)
