"""Marked entities, however the data marks them."""

import pytest

from electra_jax.finetuning.data.entity_marks import mark_entities, mark_spans


@pytest.mark.parametrize(
    "text",
    [
        "the <e1>cat</e1> ate <e2>fish</e2>.",
        "the [[ cat ]] ate << fish >> .",
        "the [[cat]] ate [[fish]].",
        "the <<cat>> ate << fish>>.",
    ],
)
def test_marked_entities_become_single_characters(text):
    assert mark_entities(text) == "the $ cat $ ate # fish # ."


def test_the_second_kind_of_mark_may_come_first():
    assert mark_entities("<e2>fish</e2> fed <e1>cat</e1>") == "# fish # fed $ cat $"
    assert mark_entities("<<fish>> fed [[cat]]") == "# fish # fed $ cat $"


def test_spans_are_marked_and_nest():
    assert mark_spans("ab cd", (0, 2), (3, 5)) == "$ ab $ # cd #"
    assert mark_spans("我的朋友走", (0, 4), (0, 1)) == "$ # 我 # 的朋友 $ 走"
    assert mark_spans("我的朋友走", (2, 4), (0, 4)) == "# 我的 $ 朋友 $ # 走"
    assert mark_spans("ab", (0, 1), (1, 2)) == "$ a $ # b #"
    assert mark_spans("ab", (0, 2), (0, 2)) == "$ # ab # $"
