"""Scores of random and constant answers."""

import numpy as np
import pytest

from electra_jax.finetuning.chance import (
    Comparison,
    above_chance,
    association,
    compare_f1,
    compare_means,
    compare_shares,
    entropy_of,
    no_better_than_chance,
)


def test_standard_deviations_above_chance():
    """Against the spread over permutations; several labels count one by one."""
    draw = np.random.default_rng(0)
    gold, predicted = draw.choice(3, 200, p=[0.7, 0.2, 0.1]), draw.choice(3, 200, p=[0.5, 0.3, 0.2])

    def sets(labels):
        return [(label,) for label in labels]

    hits = np.array([np.sum(gold == draw.permutation(predicted)) for _ in range(4000)])
    found = above_chance(sets(gold), sets(predicted))
    assert found == pytest.approx((np.sum(gold == predicted) - hits.mean()) / hits.std(), abs=0.1)
    several = [("a", "b"), ("b",)] * 10  # "b" tells nothing
    assert above_chance(several, several) == pytest.approx(19**0.5)
    assert above_chance(sets("aaa"), sets("aaa")) == above_chance([()], [()]) == 0.0


def test_the_entropy_of_the_best_constant_answer():
    assert entropy_of("aabb") == pytest.approx(np.log(2))
    assert entropy_of("aaab") == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert entropy_of("aaa") == entropy_of("") == 0.0


def bootstrapped(draw, score, *arrays):
    """The standard deviation of a difference of two scores over resampled examples."""
    n = len(arrays[0])
    picked = (draw.integers(0, n, n) for _ in range(1500))
    return np.std([score(*(a[i] for a in arrays)) for i in picked])


def test_errors_are_those_of_resampled_examples():
    draw = np.random.default_rng(1)
    n = 150
    gold = draw.poisson(2, n)
    run = np.stack([draw.binomial(gold, 0.6), gold + draw.poisson(0.5, n), gold], 1)
    constant = np.stack([draw.binomial(gold, 0.2), np.full(n, 2), gold], 1)

    def f1(counts):
        return 200 * counts[:, 0].sum() / counts[:, 1:].sum()

    found = compare_f1(run, constant)
    assert (found.score, found.constant) == pytest.approx((f1(run), f1(constant)))
    error = bootstrapped(draw, lambda a, b: f1(a) - f1(b), run, constant)
    assert found.error == pytest.approx(error, rel=0.1)

    sizes = draw.integers(1, 40, n)
    right, other = draw.binomial(sizes, 0.7), draw.binomial(sizes, 0.5)
    found = compare_shares(right, other, sizes)
    assert found.score == pytest.approx(100 * right.sum() / sizes.sum())
    error = bootstrapped(draw, lambda a, b, c: 100 * (a - b).sum() / c.sum(), right, other, sizes)
    assert found.error == pytest.approx(error, rel=0.1)

    one, two = draw.random(n), draw.random(n)
    found = compare_means(one, two)
    error = bootstrapped(draw, lambda a, b: 100 * (a - b).mean(), one, two)
    assert found.error == pytest.approx(error, rel=0.1)


def test_a_score_is_better_by_its_error_and_by_what_matters():
    assert Comparison(60.0, 50.0, 4.0, 500).beaten
    assert not Comparison(57.0, 50.0, 4.0, 500).beaten
    assert Comparison(57.0, 50.0, 4.0, 20).beaten  # of few examples the error is large
    assert not Comparison(51.9, 50.0, 0.1, 90_000).beaten
    assert Comparison(99.5, 99.0, 5.0, 50).beaten  # half of what is lacking
    assert Comparison(62.0, 50.0, 4.0, 500).surely_beaten
    assert not Comparison(61.0, 50.0, 4.0, 500).surely_beaten


def test_association_has_mean_0_and_deviation_1_where_there_is_none():
    draw = np.random.default_rng(2)
    scores = []
    for _ in range(300):
        gold, predicted = (draw.choice(3, 60, p=[0.6, 0.3, 0.1]) for _ in range(2))
        scores.append(association([(x,) for x in gold], [(x,) for x in predicted]))
    assert abs(np.mean(scores)) < 0.15 and np.std(scores) == pytest.approx(1, abs=0.15)


def test_one_rare_label_that_is_right_proves_nothing():
    gold = [("a",)] * 990 + [("b",)] * 10
    stray = [("a",)] * 999 + [("b",)]
    assert above_chance(gold, stray) > 9
    assert association(gold, stray) == pytest.approx(1, abs=0.05)
    assert association(gold, gold) > 3
    assert association(gold, [("a",)] * 1000) == 0.0


def test_words_of_one_sentence_count_as_one_observation():
    """A sentence whose 50 words are all right is no more than a stray one."""
    gold = [("a",)] * 950 + [("b",)] * 50
    found = [("a",)] * 950 + [("b",)] * 50
    sentences = np.repeat(np.arange(20), 50)
    assert association(gold, found) > 7
    assert association(gold, found, sentences) < 1.5


def test_few_examples_prove_less():
    assert no_better_than_chance(1.9, 1000) and not no_better_than_chance(2.1, 1000)
    assert no_better_than_chance(0.1, 20) and not no_better_than_chance(0.3, 20)
    assert not no_better_than_chance(-5.0, 19)
