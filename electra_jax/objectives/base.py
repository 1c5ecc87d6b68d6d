"""What the training loop knows of an objective. The loop knows neither generator nor
discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax

from electra_jax.objectives.draws import Draws

Tree = Any
Batch = Mapping[str, jax.Array]
Sums = dict[str, tuple[jax.Array, jax.Array]]

# Added to every denominator, as the reference does, so that an empty batch has loss 0.
DENOMINATOR_EPSILON = 1e-6


class Objective(Protocol):
    """A loss to train.

    `coefficients` names the terms of the total: total = Σ coefficient · sum / (weight + 1e-6),
    every weight being the whole batch's however it is split.
    """

    @property
    def coefficients(self) -> Mapping[str, float]: ...

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """(params, frozen): what is trained, and what is only read (teachers, fixed generators)."""
        ...

    def weights(self, batch: Batch) -> dict[str, jax.Array]:
        """The denominator of each term for a batch, float32 [], without running the model."""
        ...

    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """({term: (sum, weight)}, {metric: (sum, weight)}) of a batch or a part of one."""
        ...

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """Named numbers from summed terms and metrics (on the host); `loss` is among them."""
        ...


def total_loss(coefficients: Mapping[str, float], sums: Mapping[str, Any]) -> float:
    """Σ coefficient · sum / (weight + 1e-6) on the host."""
    return float(
        sum(
            c * float(sums[name][0]) / (float(sums[name][1]) + DENOMINATOR_EPSILON)
            for name, c in coefficients.items()
        )
    )
