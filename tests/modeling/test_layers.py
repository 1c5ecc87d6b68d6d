"""Each part that is written for speed against the plain formula: values and gradients."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config.model import ElectraConfig
from electra_jax.modeling.layers import Dense, activation, gelu, layer_norm


def values_and_gradients(function, *arguments):
    """The output, and the gradients of a sum that weighs every element differently."""
    out, back = jax.vjp(function, *arguments)
    return out, *back(jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape))


def test_gelu_and_its_kept_derivative_are_exact():
    z = np.concatenate([np.linspace(-9, 9, 2001), [0.0, -1e4, 1e4, -1e-30]]).astype(np.float32)
    below = np.array([(1 + math.erf(v / math.sqrt(2))) / 2 for v in z.astype(np.float64)])
    density = np.exp(-(z.astype(np.float64) ** 2) / 2) / math.sqrt(2 * math.pi)
    derivative = jax.grad(lambda x: jnp.sum(gelu(x)))(jnp.asarray(z))
    np.testing.assert_allclose(gelu(jnp.asarray(z)), z * below, rtol=2e-7, atol=6e-7)
    np.testing.assert_allclose(derivative, below + z * density, rtol=0, atol=5e-7)


def test_gelu_in_bfloat16_rounds_the_float32_one():
    x = jnp.linspace(-4, 4, 257, dtype=jnp.bfloat16)
    assert gelu(x).dtype == jnp.bfloat16
    np.testing.assert_array_equal(gelu(x), gelu(x.astype(jnp.float32)).astype(jnp.bfloat16))


@pytest.mark.parametrize("with_bias", (True, False))
def test_layer_norm_has_the_gradient_of_its_formula(with_bias):
    def plain(x, scale, bias):
        centred = x - jnp.mean(x, -1, keepdims=True)
        variance = jnp.mean(centred**2, -1, keepdims=True)
        y = centred / jnp.sqrt(variance + 1e-5) * scale[None, None]
        return y + bias[None, None] if with_bias else y

    def fast(x, scale, bias):
        return layer_norm(x, scale, bias if with_bias else None, 1e-5)

    x, scale, bias = (jax.random.normal(jax.random.key(n), s) for n, s in enumerate(
        ((3, 5, 24), (24,), (24,))
    ))  # fmt: skip
    x = 3 * x + 1
    for a, b in zip(
        values_and_gradients(fast, x, scale, bias), values_and_gradients(plain, x, scale, bias)
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_constant_vector_is_normalised_to_zeros_with_a_finite_gradient():
    x = jnp.full((2, 8), 3.0)
    out, gradient = values_and_gradients(lambda x: layer_norm(x, jnp.ones(8), None, 1e-12), x)
    np.testing.assert_array_equal(out, 0)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("shape", ((6,), (5, 6), (2, 5, 6), (2, 3, 5, 6)))
def test_dense_is_a_product_over_the_last_axis_whatever_the_others(shape):
    module = Dense(ElectraConfig(vocab_size=9), 4)
    x = jax.random.normal(jax.random.key(0), shape)
    params = {
        "kernel": jax.random.normal(jax.random.key(1), (6, 4)),
        "bias": jax.random.normal(jax.random.key(2), (4,)),
    }

    def fast(x, kernel, bias):
        return module.apply({"params": {"kernel": kernel, "bias": bias}}, x)

    def plain(x, kernel, bias):
        return jnp.einsum("...i,io->...o", x, kernel) + bias.reshape((1,) * (x.ndim - 1) + (4,))

    found = values_and_gradients(fast, x, *params.values())
    expected = values_and_gradients(plain, x, *params.values())
    assert found[0].shape == (*shape[:-1], 4)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_layer_norm_in_bfloat16_has_float32_statistics():
    x = jnp.asarray(np.random.default_rng(0).normal(300, 1, (4, 256)), jnp.bfloat16)
    y = layer_norm(x, jnp.ones(256), None, 1e-12)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(y).std(-1), 1, rtol=1e-3)


def test_gelu_is_exact_unless_asked():
    x = jnp.linspace(-4, 4, 101)
    exact = np.asarray(x) * 0.5 * (1 + np.asarray(jax.lax.erf(x / np.sqrt(2))))
    np.testing.assert_allclose(activation("gelu", x), exact, atol=1e-6)
    assert 1e-5 < np.abs(np.asarray(activation("gelu_new", x)) - exact).max() < 1e-3
    np.testing.assert_array_equal(activation("relu", x), np.maximum(x, 0))
