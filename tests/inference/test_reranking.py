"""Re-ranking: word errors, the best hypothesis by weight, the weight chosen by a dev set."""

import itertools

import pytest

from electra_jax.inference.reranking import WEIGHTS, Ranked, choose_weight, edits, error_rate


def brute(a, b):
    """The edit distance by its recursion."""
    if not a or not b:
        return len(a) + len(b)
    change = brute(a[1:], b[1:]) + (a[0] != b[0])
    return min(change, brute(a[1:], b) + 1, brute(a, b[1:]) + 1)


def test_edits_are_the_fewest():
    words = ["", "a", "ab", "ba", "abc", "acb", "cab", "abab"]
    for a, b in itertools.product(words, words):
        assert edits(a, b) == edits(b, a) == brute(a, b), (a, b)


def test_the_first_of_equal_hypotheses_is_the_best():
    ranked = Ranked(["a", "b", "c"], [-1.0, -2.0, -2.0], [-9.0, -5.0, -5.0])
    assert ranked.best(0) == 0
    assert ranked.best(1) == 1


def test_errors_are_counted_in_words_or_without_spaces_in_characters():
    right, wrong = "the cat sat", "the bat sat on"
    lists = [Ranked([wrong], [0.0], [0.0], right), Ranked(["yes"], [0.0], [0.0], "no")]
    assert error_rate(lists, 0) == pytest.approx((2 + 1) / (3 + 1))
    chinese = [Ranked(["我 喜欢她"], [0.0], [0.0], "我喜欢它")]
    assert error_rate(chinese, 0) == pytest.approx(1 / 4)


def test_the_weight_is_the_smallest_of_those_with_the_fewest_errors():
    # The model prefers b by 10, the recogniser a by 3: from .35 on b is the best.
    lists = [Ranked(["a", "b"], [-1.0, -4.0], [-30.0, -20.0], "b")]
    weight, rates = choose_weight(lists)
    assert weight == 0.35
    assert [w for w in WEIGHTS if rates[w] == 0] == [w for w in WEIGHTS if w >= 0.35]
    # Another list that is right without the model: the weight stays below what spoils it.
    lists.append(Ranked(["c", "d"], [-1.0, -6.0], [-30.0, -20.0], "c"))
    assert choose_weight(lists)[0] == 0.35
    assert choose_weight([Ranked(["a", "b"], [0.0, -1.0], [0.0, -1.0], "a")])[0] == 0
