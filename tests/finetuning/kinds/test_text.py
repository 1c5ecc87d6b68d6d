"""Texts and pairs: cutting, token types, swapped pairs, inputs of `predict`."""

import pytest
from finetuning.letters import CLS, SEP, A, B, C, D, E, F, codec_of, encode, pair

from electra_jax.errors import UserError
from electra_jax.finetuning.kinds.table import KINDS
from electra_jax.finetuning.task_table import TASKS


def test_a_pair_and_its_token_types(letters):
    codec = codec_of("pair", letters, ("x", "y"), max_length=8)
    feature = encode(codec, pair("a B", "c", label="y"), train=True)
    assert feature["input_ids"].tolist() == [CLS, A, B, SEP, C, SEP]
    assert feature["token_type_ids"].tolist() == [0, 0, 0, 0, 1, 1]
    assert feature["label"] == 1
    assert "label" not in encode(codec, pair("a", "b"))
    assert codec.truncated == 0
    cut = encode(codec, pair("a b c d e f g"))
    assert cut["input_ids"].tolist() == [CLS, A, B, C, D, E, F, SEP]
    assert codec.truncated == 1


def test_text_never_becomes_a_special_token(letters):
    codec = codec_of("pair", letters, ("x", "y"))
    assert SEP not in encode(codec, pair("[SEP]"))["input_ids"].tolist()[1:-1]


def test_double_unordered_adds_the_swapped_pair(letters):
    codec = codec_of("mrpc", letters, double_unordered=True)
    examples = list(codec.expand([pair("a", "b", label="1"), pair("c", label="0")]))
    assert [e.texts for e in examples] == [("a", "b"), ("b", "a"), ("c",)]
    assert [e.label for e in examples] == ["1", "1", "0"]
    plain = codec_of("mrpc", letters)
    assert len(list(plain.expand([pair("a", "b", label="1")]))) == 1


def test_an_unknown_label_is_named(letters):
    codec = codec_of("pair", letters, ("x", "y"))
    with pytest.raises(UserError, match=r'f:1: unknown label "z"; the known labels are: x, y'):
        codec.encode(pair("a", label="z"), True)


def read_input(value):
    return KINDS["classification"].input(TASKS["pair"], value, "input 3", 3, {}, {})


def test_inputs_are_texts_pairs_or_mappings():
    for value in ("a", ["a"], ("a",)):
        assert read_input(value).texts == ("a",)
    assert read_input(("a", "b")).texts == ("a", "b") and read_input("a").id == "3"
    assert read_input({"premise": "a", "hypothesis": "b", "id": "x"}).id == "x"
    for wrong in (["a", "b", "c"], " ", ("a", 1), []):
        with pytest.raises(UserError, match="input 3: give one text or two, not empty"):
            read_input(wrong)


def test_scores_need_no_texts(letters):
    example = KINDS["classification"].without_texts(pair("a", "b", label="x"))
    assert example.texts == () and example.label == "x"
