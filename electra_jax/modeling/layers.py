"""The small parts that both block styles use: dense layers, LayerNorm, activations."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from electra_jax.config import ElectraConfig


def activation(name: str, x: jax.Array) -> jax.Array:
    """gelu (exact, by erf: the reference's), gelu_new (tanh approximation) or relu."""
    if name == "relu":
        return jax.nn.relu(x)
    return jax.nn.gelu(x, approximate=name == "gelu_new")


def truncated_normal(stddev: float) -> nn.initializers.Initializer:
    """Normal draws of `stddev` redrawn beyond two of them, as the reference (resulting std 0.88 ×
    stddev)."""
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
    x = x.astype(jnp.float32)
    centred = x - jnp.mean(x, -1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), -1, keepdims=True)
    y = centred * jax.lax.rsqrt(variance + epsilon) * _last(scale, x)
    return y if bias is None else y + _last(bias, x)


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
        y = jnp.matmul(x.astype(self.config.dtype), kernel.astype(self.config.dtype))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + _last(bias, y).astype(y.dtype)
        return y


glorot_uniform = nn.initializers.glorot_uniform()
batch_constraint = functools.partial(
    nn.with_logical_constraint, logical_axis_resources=("batch", "length", "width")
)
