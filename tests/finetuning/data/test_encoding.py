"""Texts to ids: what is cut, and token types."""

import numpy as np
import pytest
from finetuning.letters import CLS, LETTERS, SEP, A, B, C, D, E, F, codec_of, encode, pair

from electra_jax.finetuning.data.encoding import PairEncoder, longest_first, softmax


def test_tokens_are_cut_from_the_longer_text_and_of_equals_from_the_second():
    def one_by_one(a, b, limit):
        while a + b > limit:
            a, b = (a - 1, b) if a > b else (a, b - 1)
        return a, b

    for a in range(9):
        for b in range(9):
            for limit in range(a + b + 2):
                assert longest_first(a, b, limit) == one_by_one(a, b, limit)


def test_a_pair_and_its_token_types():
    codec = codec_of("pair", ("x", "y"), max_length=8)
    feature = encode(codec, pair("a B", "c", label="y"), train=True)
    assert feature["input_ids"].tolist() == [CLS, A, B, SEP, C, SEP]
    assert feature["token_type_ids"].tolist() == [0, 0, 0, 0, 1, 1]
    assert feature["label"] == 1
    assert "label" not in encode(codec, pair("a", "b"))
    assert codec.truncated == 0
    cut = encode(codec, pair("a b c d e f g"))
    assert cut["input_ids"].tolist() == [CLS, A, B, C, D, E, F, SEP]
    assert codec.truncated == 1


def test_text_never_becomes_a_special_token():
    codec = codec_of("pair", ("x", "y"))
    assert SEP not in encode(codec, pair("[SEP]"))["input_ids"].tolist()[1:-1]


def test_what_goes_between_the_parts_outlives_the_first():
    """A tail is cut only where nothing is left of the part before it."""
    encoder = PairEncoder(LETTERS, 7)
    a, b = encoder.texts(["a b c", "d e"])
    assert encoder.join([a, b], tail=b)[0].tolist() == [CLS, D, E, SEP, D, E, SEP]
    assert encoder.join([a], keep_end=True)[0].tolist() == [CLS, A, B, C, SEP]
    assert encoder.truncated == 1
    short = PairEncoder(LETTERS, 4)
    assert short.join([a], keep_end=True)[0].tolist() == [CLS, B, C, SEP]
    assert short.join([a], tail=b)[0].tolist() == [CLS, D, E, SEP]


def test_softmax_is_exact_where_exponentials_overflow():
    assert softmax([[1000.0, 1000.0 + np.log(3)]])[0] == pytest.approx([0.25, 0.75])
