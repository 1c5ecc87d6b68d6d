"""Windows of whole words over a long sentence, and the tags of all its words from them."""

import numpy as np
import pytest
from finetuning.letters import CLS, LETTERS, SEP, codec_of

from electra_jax.finetuning.data.examples import TaggedExample
from electra_jax.finetuning.kinds.tag_codec import NO_PIECE
from electra_jax.finetuning.kinds.tag_windows import windows

TAGS = (*(f"B-{c}" for c in "abcdefgh"), "O")


def context(counts, window, word):
    """Pieces of a window to the left and to the right of a word: the smaller number."""
    return min(sum(counts[window.first : word]), sum(counts[word + 1 : window.last]))


@pytest.mark.parametrize("room", [6, 9, 30])
@pytest.mark.parametrize("seed", range(5))
def test_every_word_is_tagged_once_where_it_has_most_context(room, seed):
    draw = np.random.default_rng(seed)
    counts = draw.integers(0, 5, 80)
    found = windows(counts, room)
    assert [w.first for w in found] == sorted({w.first for w in found})
    assert found[0].first == 0 and found[-1].last == 80
    assert sorted(np.concatenate([w.tagged for w in found])) == list(range(80))
    for window in found:
        assert counts[window.first : window.last].sum() <= room
        for word in window.tagged:
            holding = [w for w in found if w.first <= word < w.last]
            assert context(counts, window, word) == max(context(counts, w, word) for w in holding)


def test_windows_overlap_by_half_and_the_last_one_is_full():
    found = windows(np.ones(25, int), 10)
    assert [(w.first, w.last) for w in found] == [(0, 10), (5, 15), (10, 20), (15, 25)]
    assert [(w.first, w.last) for w in windows(np.ones(12, int), 10)] == [(0, 10), (2, 12)]
    assert [(w.first, w.last) for w in windows(np.ones(10, int), 10)] == [(0, 10)]


def test_a_word_longer_than_a_window_is_one_by_itself():
    found = windows(np.array([2, 9, 2, 0, 1]), 4)
    assert [(w.first, w.last) for w in found] == [(0, 1), (1, 2), (2, 5)]


def answer(codec, example):
    """The codec's answer where the network knows a word by the token at its position."""
    features = codec.encode(example, False)
    outputs = []
    for feature in features:
        tokens = feature["input_ids"][feature["word_positions"]]
        logits = np.zeros((len(tokens), len(TAGS)), np.float32)
        known = (tokens >= 5) & (tokens < 13)
        logits[np.arange(len(tokens)), np.where(known, tokens - 5, 8)] = 9.0
        outputs.append({"logits": logits})
    return features, codec.decode(example, features, outputs)


def test_a_long_sentence_is_answered_whole():
    words = tuple(np.random.default_rng(0).choice([*"abcdefgh", "abc", "dg", "\u200b"], 60))
    example = TaggedExample("f:1", "0", words, ("O",) * 60)
    codec = codec_of("ner", TAGS, max_length=12)
    features, found = answer(codec, example)
    assert len(features) > 8
    for feature in features:
        assert len(feature["input_ids"]) <= 12
        assert feature["input_ids"][0] == CLS and feature["input_ids"][-1] == SEP
    expected = ["O" if w == "\u200b" else f"B-{w[0]}" for w in words]
    assert found["tags"] == expected
    assert [p is None for p in found["probabilities"]] == [w == "\u200b" for w in words]
    assert codec.score([example], [found])["missed_words"] == 0
    assert codec.truncated == codec.missed_words == 0
    whole = answer(codec_of("ner", TAGS, max_length=512), example)[1]
    assert {**whole, "probabilities": None} == {**found, "probabilities": None}


def test_the_beginning_of_a_window_is_the_beginning_of_a_word():
    example = TaggedExample("f:1", "0", ("abc",) * 9)
    features = codec_of("ner", TAGS, max_length=10).encode(example, False)
    first = LETTERS.encode("abc")[0]
    for feature in features:
        assert feature["input_ids"][1] == first
        positions = feature["word_positions"]
        assert NO_PIECE not in positions
        assert (feature["input_ids"][positions] == first).all()


def test_training_still_sees_the_beginning_alone():
    example = TaggedExample("f:1", "0", tuple("abcdefgh"), ("O",) * 8)
    codec = codec_of("ner", TAGS, max_length=8)
    (feature,) = codec.encode(example, True)
    assert len(feature["tags"]) == 6 and (codec.truncated, codec.missed_words) == (1, 2)
