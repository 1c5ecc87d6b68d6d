"""Words of running text, and text of words."""

import pytest

from electra_jax.finetuning.data.words import join_words, split_words


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
