"""Cross entropies and divergences against NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_softmax
from scipy.stats import entropy

from electra_jax.finetuning.losses import (
    binary_cross_entropy,
    categorical_divergence,
    cross_entropy,
)

RNG = np.random.default_rng(4)


def test_smoothing_spreads_over_what_may_be_chosen():
    """Neither excluded positions (-1e9) nor absent choices (-1000 of the reference)."""
    logits = np.array([[1.0, 2.0, -1e9, 0.5], [0.0, 1.0, -999.0, -1001.0]], np.float32)
    found = cross_entropy(jnp.asarray(logits), jnp.asarray([1, 0]), 0.2)
    for row, (allowed, label) in enumerate((([0, 1, 3], 1), ([0, 1], 0))):
        log_probs = log_softmax(logits[row].astype(np.float64))
        expected = -0.8 * log_probs[label] - 0.2 * log_probs[allowed].mean()
        np.testing.assert_allclose(found[row], expected, rtol=1e-5)


def test_labels_index_the_last_axis_of_any_shape():
    logits = RNG.normal(size=(2, 3, 4)).astype(np.float32)
    labels = RNG.integers(0, 4, (2, 3))
    expected = -np.take_along_axis(log_softmax(logits, -1), labels[..., None], -1)[..., 0]
    found = cross_entropy(jnp.asarray(logits), jnp.asarray(labels), 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_row_without_choices_has_a_finite_gradient(smoothing):
    logits = jnp.full((1, 3), -1e9)
    loss = lambda x: jnp.sum(cross_entropy(x, jnp.zeros(1, jnp.int32), smoothing))  # noqa: E731
    assert bool(jnp.isfinite(jax.grad(loss)(logits)).all())


def test_binary_cross_entropy_of_soft_labels_and_far_logits():
    logits, labels = RNG.normal(size=6).astype(np.float32), np.linspace(0, 1, 6, dtype=np.float32)
    p = expit(logits.astype(np.float64))
    expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    np.testing.assert_allclose(binary_cross_entropy(logits, labels), expected, rtol=1e-5)
    far = binary_cross_entropy(jnp.array([200.0, -200.0, 200.0]), jnp.array([1.0, 0.0, 0.0]))
    np.testing.assert_allclose(far, [0.0, 0.0, 200.0])


def test_the_divergence_is_the_mean_of_both_kullback_leibler_divergences():
    one, other = RNG.normal(size=(2, 5, 4)).astype(np.float32)
    p, q = np.exp(log_softmax(one, -1)), np.exp(log_softmax(other, -1))
    expected = 0.5 * (entropy(p, q, axis=1) + entropy(q, p, axis=1))
    found = categorical_divergence(jnp.asarray(one), jnp.asarray(other))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert categorical_divergence(jnp.asarray(one), jnp.asarray(one)).tolist() == [0.0] * 5
