"""Scores of random and constant answers."""

import numpy as np
import pytest

from electra_jax.finetuning.chance import above_chance, entropy_of


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
