"""Metrics against their definitions in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.objectives.metrics import (
    auc,
    auc_counts,
    auc_thresholds,
    binary_entropy,
    ratio,
    rtd_skill,
)


def exact_auc(scores, labels, weights):
    """Probability that a positive scores above a negative, ties half."""
    positive, negative = ((scores[(labels == k) & (weights > 0)]) for k in (1, 0))
    above = (positive[:, None] > negative[None, :]) + 0.5 * (positive[:, None] == negative[None, :])
    return above.mean()


def test_auc_is_the_probability_of_the_right_order():
    """Exactly where scores stand on a coarse grid between the thresholds; weights 0 leave out."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500)
    scores = np.minimum(rng.integers(0, 20, 500) + 4 * labels, 19) / 20 + 0.001
    weights = (rng.random(500) < 0.8).astype(np.float32)
    counts = auc_counts(*(jnp.asarray(x, jnp.float32) for x in (scores, labels, weights)))
    ours = auc(*map(np.asarray, counts))
    assert ours == pytest.approx(exact_auc(scores, labels, weights), abs=1e-6)
    assert 0.6 < ours < 0.9


def test_auc_of_extremes():
    def of(scores, labels):
        ones = jnp.ones(len(scores))
        return auc(*map(np.asarray, auc_counts(jnp.asarray(scores), jnp.asarray(labels), ones)))

    assert of([0.1, 0.9], [0, 1]) == 1
    assert of([0.9, 0.1], [0, 1]) == 0
    assert of([0.0, 1.0, 0.0, 1.0], [0, 1, 1, 0]) == 0.5
    assert np.isnan(of([0.1, 0.9], [1, 1])) and np.isnan(of([0.1, 0.9], [0, 0]))


def test_auc_counts_of_parts_add_up():
    rng = np.random.default_rng(1)
    scores, labels = (jnp.asarray(x, jnp.float32) for x in (rng.random(64), rng.integers(0, 2, 64)))
    ones = jnp.ones(64)
    whole = auc_counts(scores, labels, ones)
    parts = [auc_counts(scores[s], labels[s], ones[s]) for s in (slice(0, 20), slice(20, 64))]
    for a, b, c in zip(whole, *parts):
        np.testing.assert_array_equal(a, b + c)
    # The first threshold lies below every probability, the last above: all, and none.
    assert float(whole[0][0] + whole[1][0]) == 64 and float(whole[0][-1] + whole[1][-1]) == 0
    thresholds = auc_thresholds()
    assert len(thresholds) == 200 and thresholds[0] < 0 and thresholds[-1] > 1


def test_entropy_skill_and_ratio():
    assert binary_entropy(0.5) == pytest.approx(np.log(2))
    assert binary_entropy(0.0) == binary_entropy(1.0) == 0
    assert rtd_skill(binary_entropy(0.1), 0.1) == pytest.approx(0)
    assert rtd_skill(0.0, 0.1) == 1
    assert rtd_skill(0.3 * binary_entropy(0.1), 0.1) == pytest.approx(0.7)
    assert np.isnan(rtd_skill(0.5, 0.0)) and np.isnan(ratio((0.0, 0.0)))
    assert ratio((3.0, 4.0)) == 0.75
