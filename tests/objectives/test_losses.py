"""Losses and metrics against their definitions in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.objectives.losses import masked_lm_loss, replaced_labels, replaced_token_loss


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
