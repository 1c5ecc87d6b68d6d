"""The small parts that both block styles use: dense layers, LayerNorm, activations."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from electra_jax.config.model import ElectraConfig


def activation(name: str, x: jax.Array) -> jax.Array:
    """gelu (exact, by erf: the reference's), gelu_new (tanh approximation) or relu."""
    if name == "gelu":
        return gelu(x)
    return jax.nn.relu(x) if name == "relu" else jax.nn.gelu(x, approximate=True)


@jax.custom_jvp
def gelu(x: jax.Array) -> jax.Array:
    """x · Φ(x), Φ by erf, computed in float32.

    The derivative is computed in the forward pass, which has Φ(x) already, and is the only value
    that the backward pass needs from it.
    """
    return _gelu_and_derivative(x)[0]


@gelu.defjvp
def _gelu_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> Any:
    y, derivative = _gelu_and_derivative(*primals)
    return y, derivative * tangents[0]


def _gelu_and_derivative(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    z = x.astype(jnp.float32)
    below = 0.5 + 0.5 * jax.lax.erf(z * 0.5**0.5)
    density = jnp.exp(-0.5 * jnp.square(z)) * (2 * jnp.pi) ** -0.5
    return (z * below).astype(x.dtype), (below + z * density).astype(x.dtype)


def truncated_normal(stddev: float) -> nn.initializers.Initializer:
    """Normal numbers of `stddev`, truncated at two standard deviations as in the reference (the
    resulting one is 0.88 × stddev)."""
    return nn.initializers.truncated_normal(stddev)


class LayerNorm(nn.Module):
    """LayerNorm over the last axis: statistics in float32, result in the compute dtype."""

    config: ElectraConfig
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,)) if self.use_bias else None
        return layer_norm(x, scale, bias, self.config.layer_norm_eps).astype(self.config.dtype)


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array | None, epsilon: float) -> jax.Array:
    """(x − mean) / sqrt(variance + epsilon) · scale (+ bias) over the last axis, in float32."""
    y = _normalised(x.astype(jnp.float32), epsilon) * _last(scale, x)
    return y if bias is None else y + _last(bias, x)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _normalised(x: jax.Array, epsilon: float) -> jax.Array:
    """(x − mean) / sqrt(variance + epsilon). The backward pass keeps the result and the
    inverse root alone."""
    return _normalised_and_inverse(x, epsilon)[0]


@_normalised.defjvp
def _normalised_jvp(epsilon: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> Any:
    y, inverse = _normalised_and_inverse(*primals, epsilon)
    t = tangents[0]
    along = jnp.mean(y * t, -1, keepdims=True)
    return y, inverse * (t - jnp.mean(t, -1, keepdims=True) - y * along)


def _normalised_and_inverse(x: jax.Array, epsilon: float) -> tuple[jax.Array, jax.Array]:
    centred = x - jnp.mean(x, -1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + epsilon)
    return centred * inverse, inverse


def _last(vector: jax.Array, x: jax.Array) -> jax.Array:
    """A vector [width] shaped to broadcast over the last axis of `x`."""
    return vector.reshape((1,) * (x.ndim - 1) + vector.shape)


class Dense(nn.Module):
    """x @ kernel (+ bias), kernel [in, out] in float32, product in the compute dtype."""

    config: ElectraConfig
    features: int
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = self.kernel_init or truncated_normal(self.config.initializer_range)
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        # Two dimensions: with more, XLA's CPU compiler adds a transpose to the kernel's gradient.
        flat = x.reshape(-1, x.shape[-1]).astype(self.config.dtype)
        y = jnp.matmul(flat, kernel.astype(self.config.dtype))
        y = y.reshape(*x.shape[:-1], self.features)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + _last(bias, y).astype(y.dtype)
        return y


glorot_uniform = nn.initializers.glorot_uniform()
batch_constraint = functools.partial(
    nn.with_logical_constraint, logical_axis_resources=("batch", "length", "width")
)
