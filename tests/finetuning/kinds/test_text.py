"""Texts and pairs: cutting, token types, swapped pairs, inputs of `predict`."""

import pytest
from finetuning.letters import codec_of, pair

from electra_jax.errors import UserError
from electra_jax.finetuning.kinds.table import KINDS
from electra_jax.finetuning.task_table import TASKS


def test_double_unordered_adds_the_swapped_pair():
    codec = codec_of("mrpc", double_unordered=True)
    examples = list(codec.expand([pair("a", "b", label="1"), pair("c", label="0")]))
    assert [e.texts for e in examples] == [("a", "b"), ("b", "a"), ("c",)]
    assert [e.label for e in examples] == ["1", "1", "0"]
    plain = codec_of("mrpc")
    assert len(list(plain.expand([pair("a", "b", label="1")]))) == 1


def test_an_unknown_label_is_named():
    codec = codec_of("pair", ("x", "y"))
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


def test_scores_need_no_texts():
    example = KINDS["classification"].without_texts(pair("a", "b", label="x"))
    assert example.texts == () and example.label == "x"
