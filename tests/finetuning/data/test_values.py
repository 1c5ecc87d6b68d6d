"""What a value means: lists and numbers written as text, labels that say that there is none."""

import math

import pytest

from electra_jax.errors import UserError
from electra_jax.finetuning.data.values import (
    Missing,
    bit_of,
    list_of,
    missing_label,
    name_of,
    number_of,
    structure_of,
)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("['food', 'price']", ["food", "price"]),
        ('["food", "price"]', ["food", "price"]),
        ("['food' 'price']", ["food", "price"]),  # NumPy's, which Python reads as one string
        ("['it\\'s', \"x, y\",\n 'z']", ["it's", "x, y", "z"]),
        ("[0 1 0]", [0, 1, 0]),
        ("[0., 1.5]", [0, 1.5]),
        ("[True, False, None, nan]", [True, False, None, None]),
        ("[]", []),
        ("['a',]", ["a"]),
    ],
)
def test_lists_written_as_text(text, items):
    assert list_of(text, "labels", "f:1") == items
    assert list_of(items, "labels", "f:1") == items
    assert structure_of(text) == items


def test_items_without_quotes_are_taken_between_commas_where_labels_are_meant():
    assert list_of("[good food, price]", "labels", "f:1", bare=True) == ["good food", "price"]
    assert list_of("[food]", "labels", "f:1", bare=True) == ["food"]
    assert list_of("[deleted]", "text", "f:1") == "[deleted]"  # of a text, a word in brackets
    for text in ("[good food]", "[it's, b]"):
        with pytest.raises(UserError, match=r"f:1: labels hold .*write it as JSON"):
            list_of(text, "labels", "f:1", bare=True)


@pytest.mark.parametrize("text", ["['a', 'b' 'c']", "['a, 'b']", "['a',,'b']", "[0 1 ... 4]"])
def test_what_begins_as_a_list_and_is_none_is_refused(text):
    with pytest.raises(UserError, match=r"f:1: tags hold .*begins as a list and is none"):
        list_of(text, "tags", "f:1")


def test_a_list_that_was_cut_off_is_no_name():
    with pytest.raises(UserError, match="begins as a list"):
        list_of("['a', 'b", "labels", "f:1", bare=True)


def test_objects_written_as_text():
    expected = {"start": 1, "text": ["a", "b"]}
    assert structure_of("{'start': 1, 'text': ['a', 'b']}") == expected
    assert structure_of('{"start": 1, "text": ["a", "b"]}') == expected
    for other in ("{'text': ['a' 'b']}", "{a}", "text", 5, "[text"):
        assert structure_of(other) == other


@pytest.mark.parametrize(
    "value", [None, math.nan, "", " ", "nan", "NaN", "-", -1, -1.0, "-1", "-1.0", -100, "-100"]
)
def test_values_that_say_that_there_is_no_label(value):
    assert isinstance(missing_label(value), Missing)


@pytest.mark.parametrize("value", [0, 1, "0", "none", "NA", "--", "- ", False, -2, "-10", []])
def test_values_that_are_labels(value):
    assert missing_label(value) is None or value == "- "


def test_negative_numbers_are_targets_like_any_other():
    assert missing_label(-1, numbers=True) is None is missing_label("-100", numbers=True)
    assert missing_label("", numbers=True) is not None


def test_numbers_are_decimals():
    values = ["1", " -1.5 ", ".5", "1e3", 2, 2.5]
    assert [number_of(v) for v in values] == [1, -1.5, 0.5, 1000, 2, 2.5]
    for value in ("1_0", "1,5", "0x1", "inf", "nan", "", math.inf, math.nan, True, None, "1e999"):
        assert number_of(value) is None


def test_names_and_bits():
    assert [name_of(v, False) for v in (1, 1.0, True, " a ", "1.0")] == [
        "1",
        "1",
        "true",
        "a",
        "1.0",
    ]
    assert [name_of(v, True) for v in ("1.0", "-2.00", "True", "1.50")] == [
        "1",
        "-2",
        "true",
        "1.50",
    ]
    assert [name_of(v, True) for v in (None, "", [], math.inf)] == [None] * 4
    assert [bit_of(v) for v in (0, 1.0, "1", "0.0", True, "FALSE")] == [0, 1, 1, 0, 1, 0]
    assert [bit_of(v) for v in (2, "x", None, "", -1, [1])] == [None] * 6
