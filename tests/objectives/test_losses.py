"""Losses and metrics against their definitions in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.objectives.losses import (
    copy_mixture_loss,
    masked_lm_loss,
    replaced_labels,
    replaced_token_loss,
)


def test_masked_lm_loss_is_the_negative_log_probability():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 30, (2, 3, 50))
    targets = rng.integers(0, 50, (2, 3))
    log_z = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
    expected = log_z - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    ours = masked_lm_loss(jnp.asarray(logits, jnp.float32), jnp.asarray(targets))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    assert masked_lm_loss(jnp.zeros((1, 1, 4), jnp.bfloat16), jnp.zeros((1, 1), int)).dtype == (
        jnp.float32
    )


def test_replaced_token_loss_is_binary_cross_entropy_and_never_overflows():
    logits = np.array([[-3.0, 0.0, 2.0, 500.0, -500.0, 500.0]])
    labels = np.array([[0, 1, 1, 1, 0, 0]])
    with np.errstate(over="ignore", divide="ignore"):
        probability = 1 / (1 + np.exp(-logits))
        expected = -np.log(np.where(labels == 1, probability, 1 - probability))
    expected[0, -1] = 500.0  # where 1 − p is 0 in float64
    ours = replaced_token_loss(jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-7)
    gradient = jax.grad(lambda x: replaced_token_loss(x, jnp.asarray(labels)).sum())(
        jnp.asarray(logits, jnp.float32)
    )
    np.testing.assert_allclose(gradient, probability - labels, atol=1e-6)


def test_labels_mark_what_differs_among_valid_tokens():
    original = jnp.asarray([[5, 6, 7, 0]])
    corrupted = jnp.asarray([[5, 9, 7, 3]])
    valid = jnp.asarray([[True, True, True, False]])
    assert replaced_labels(original, corrupted, valid).tolist() == [[0, 1, 0, 0]]


def test_the_copying_mixture_is_a_distribution():
    """c [the token seen] + (1 - c) p sums to 1 over the vocabulary; far logits do not overflow."""
    rng = np.random.default_rng(0)
    loss = -jax.nn.log_softmax(jnp.asarray(rng.normal(0, 3, (7, 11)), jnp.float32))
    copy = jnp.asarray(rng.normal(0, 2, (7, 1)), jnp.float32)
    seen = jnp.arange(11)[None, :] == jnp.arange(7)[:, None]
    total = jnp.exp(-copy_mixture_loss(jnp.broadcast_to(copy, loss.shape), loss, seen)).sum(-1)
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    far = copy_mixture_loss(
        jnp.array([500.0, -500.0, 500.0]), jnp.ones(3), jnp.array([1, 1, 0]) > 0
    )
    np.testing.assert_allclose(far, [0, 1, 501], rtol=1e-6)


def test_without_its_prediction_the_mixture_is_the_detection_loss():
    """A token that could never be predicted is copied; one that is certain is not."""
    replaced = jnp.asarray(np.random.default_rng(1).normal(0, 3, 9), jnp.float32)
    labels = jnp.arange(9) % 2
    loss = jnp.where(labels == 1, 0.0, jnp.inf)
    mixture = copy_mixture_loss(-replaced, loss, labels == 0)
    np.testing.assert_allclose(mixture, replaced_token_loss(replaced, labels), rtol=1e-6)


def test_the_mixture_s_gradient_is_that_of_finite_differences():
    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        copy, logits = jnp.asarray(rng.normal(0, 2, 6)), jnp.asarray(rng.normal(0, 2, (6, 5)))
        seen, targets = jnp.array([0, 1, 2, 3, 4, 0]), jnp.array([0, 2, 2, 1, 4, 3])

        def total(inputs):
            picked = jax.nn.log_softmax(inputs["logits"])[jnp.arange(6), targets]
            return copy_mixture_loss(inputs["copy"], -picked, seen == targets).sum()

        inputs = {"copy": copy, "logits": logits}
        for name, gradient in jax.grad(total)(inputs).items():
            away = jnp.asarray(rng.normal(size=gradient.shape))
            ends = [total({**inputs, name: inputs[name] + s * 1e-5 * away}) for s in (1, -1)]
            slope = float(ends[0] - ends[1]) / 2e-5
            assert slope == pytest.approx(float(jnp.sum(gradient * away)), rel=1e-6), name
