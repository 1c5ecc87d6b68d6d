"""Lone surrogates are the only characters that change, one for one."""

import json

import pytest

from electra_jax.text.unicode import well_formed


@pytest.mark.parametrize("text", ["", "plain", "é中😀\U0010ffff", "\ufffd", "a\x00b"])
def test_valid_text_is_the_same_object(text):
    assert well_formed(text) is text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ud83d", "\ufffd"),
        ("a\udc00b", "a\ufffdb"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("x\ud83dy😀", "x\ufffdy😀"),
    ],
)
def test_each_lone_surrogate_becomes_one_replacement_character(text, expected):
    assert well_formed(text) == expected
    assert len(well_formed(text)) == len(text)
    well_formed(text).encode("utf-8")


def test_a_pair_that_json_escapes_is_one_character():
    assert well_formed(json.loads(r'"\ud83d\ude00"')) == "😀"
