"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/), scaled to the size of AdamW's updates (Liu et al. 2025,
arXiv:2502.16982).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Tree = Any

# Kernels of the hidden layers, [layers, rows, columns] each, and how many matrices lie side by side
# in their columns; first match wins. All other parameters are AdamW's.
MATRICES = (
    (r"encoder/layer/.*Wqkv/kernel$", 3),
    (r"encoder/layer/.*Wi/kernel$", 2),
    (r"encoder/layer/.*/kernel$", 1),
    (r"", 0),
)
# The quintic step a·X + (b·G + c·G²)·X, G = X·Xᵀ, and how often it is taken.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
ADAMW_RMS = 0.2  # of an update of AdamW


class MuonState(NamedTuple):
    """The mean of the gradients, float32, like the parameters."""

    momentum: Tree


def matrices(name: str) -> int:
    """How many matrices a parameter's columns hold; 0: it is not a matrix of a hidden layer."""
    return next(count for pattern, count in MATRICES if re.search(pattern, name))


def orthogonal(x: jax.Array) -> jax.Array:
    """The Newton-Schulz iterate of each matrix of `x` [..., rows, columns], in float32.

    It has the matrix's singular vectors; singular values above 0.0015 of the matrix's norm come to
    lie between 0.68 and 1.21.
    """
    x = x.astype(jnp.float32)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + 1e-8)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = _product(x, x.mT)
        x = a * x + _product(b * gram + c * _product(gram, gram), x)
    return x.mT if tall else x


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST)


def _update(x: jax.Array, count: int) -> jax.Array:
    """`x` [..., rows, count · columns] with each of its matrices orthogonal, of AdamW's size."""
    *layers, rows, columns = x.shape
    columns //= count
    split = jnp.moveaxis(x.reshape(*layers, rows, count, columns), -2, -3)
    joined = jnp.moveaxis(orthogonal(split), -3, -2).reshape(x.shape)
    return ADAMW_RMS * max(rows, columns) ** 0.5 * joined


def scale_by_muon(momentum: float) -> optax.GradientTransformation:
    """Orthogonalised Nesterov momentum of parameters that `matrices` counts, every layer and every
    matrix of a fused kernel for itself.

    As in the original the momentum has no bias correction: the size of a matrix does not count.
    """

    def init(params: Tree) -> MuonState:
        return MuonState(jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params))

    def update(grads: Tree, state: MuonState, params: Tree = None) -> tuple[Tree, MuonState]:
        def mean(m: jax.Array, g: jax.Array) -> jax.Array:
            return momentum * m + (1 - momentum) * g

        def direction(path: Any, m: jax.Array, g: jax.Array) -> jax.Array:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return _update(mean(m, g), matrices(name))

        moved = jax.tree.map(mean, state.momentum, grads)
        return jax.tree_util.tree_map_with_path(direction, moved, grads), MuonState(moved)

    return optax.GradientTransformation(init, update)
