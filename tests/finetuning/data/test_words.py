"""Words of running text, and text of words."""

import pytest

from electra_jax.finetuning.data.words import is_blank, join_words, split_words, with_spaces


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(U.S.) e.g. no.", ["(", "U.S.", ")", "e.g.", "no", "."]),
        ("... \u201cHi!\u201d", [".", ".", ".", "\u201c", "Hi", "!", "\u201d"]),
        ("don't 3.5 $10 a-b", ["don't", "3.5", "$10", "a-b"]),
        ("東京タワーで x", [*"東京タワーで", "x"]),
        ("'s", ["'", "s"]),
        (" ", []),
    ],
)
def test_words_of_running_text(text, words):
    assert [text[a:b] for a, b in split_words(text)] == words


def test_words_are_joined_as_they_are_written():
    assert join_words(["New", "York"]) == "New York"
    assert join_words(["北", "京", "，", "a", "b"]) == "北京，a b"
    assert join_words(["東京", "Tower", "の"]) == "東京Towerの"


@pytest.mark.parametrize(
    ("word", "blank"),
    [
        *((w, True) for w in ("", " ", "\u00a0", "\u3000", "\u200b", "\u200e", "\ufe0f", "\u3164")),
        *((w, True) for w in ("\ufeff", "\u00ad", "\U000e0101", "\u200d \u2060")),
        *((w, False) for w in ("a", ".", "\u200ba", "東", "\u0301", "\u2764\ufe0f", "_", "\ufffd")),
    ],
)
def test_blank_words(word, blank):
    assert is_blank(word) == blank


def test_spaces_before_words():
    assert with_spaces(["a", "b", "."]) == ["a", " b", " ."]
    assert with_spaces(["\u200b", "a", "\u200b", "b"]) == ["", "a", "", " b"]
    assert with_spaces(["東", "京", "a", "b"]) == ["東", "京", "a", " b"]
    assert with_spaces(["a", "b", " ", "c", "d", " "]) == ["a", "b", "", " c", "d", ""]
    assert with_spaces([" ", "a"]) == ["", "a"] and with_spaces([]) == []
