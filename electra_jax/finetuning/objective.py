"""The losses of fine-tuning, as an objective of the one training loop.

Letters: B rows, L length, W words, E embedding width. Every loss is a sum and a weight over rows,
so that padding, accumulation and meshes do not change it; the kind defines the loss of a row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.config.finetuning import LossSettings
from electra_jax.config.model import ElectraConfig
from electra_jax.finetuning.kinds.base import Kind
from electra_jax.finetuning.kinds.table import as_kind
from electra_jax.finetuning.network import Network
from electra_jax.modeling.heads.reference import Outputs
from electra_jax.modeling.peft.base import Adaptation, Full, is_head
from electra_jax.modeling.trees import flatten, unflatten
from electra_jax.objectives.base import Batch, Objective, Sums, Tree, total_loss
from electra_jax.objectives.metrics import ratio
from electra_jax.objectives.rng import Draws

_SECOND_PASS = 7  # folded into the noise of R-Drop's second pass


def row_weights(
    kind: str | Kind, batch: Mapping[str, jax.Array], settings: LossSettings
) -> jax.Array:
    """The weight of each row in the mean: float32 [B] (of each word, for tagging: [B, W])."""
    return as_kind(kind).row_weights(batch, settings)


def row_losses(
    kind: str | Kind, outputs: Outputs, batch: Mapping[str, jax.Array], settings: LossSettings
) -> jax.Array:
    """The unweighted loss of each row, shaped as `row_weights`."""
    return as_kind(kind).row_losses(outputs, batch, settings)


@dataclasses.dataclass(frozen=True)
class FineTuneObjective(Objective):
    """One task over one network."""

    network: Network
    settings: LossSettings = dataclasses.field(default_factory=LossSettings)
    adaptation: Adaptation = dataclasses.field(default_factory=Full)

    @property
    def config(self) -> ElectraConfig:
        """The encoder's shape."""
        return self.network.config

    @property
    def coefficients(self) -> Mapping[str, float]:
        """The total is the task's loss."""
        return {"loss": 1.0}

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """(trained, frozen) parameters: a fresh head and an encoder of zeros, which the model that
        a run starts from replaces (`warm_start.place`). Initialising an encoder that is thrown
        away would cost seconds of compilation.
        """
        network_key, adaptation_key = jax.random.split(key)
        flat = flatten(self.network.init(network_key))
        params = unflatten({n: x if is_head(n) else jnp.zeros_like(x) for n, x in flat.items()})
        return self.adaptation.split(params, adaptation_key)

    def weights(self, batch: Batch, step: jax.Array | None = None) -> dict[str, jax.Array]:
        """The denominator of the mean; 1 for the reference's sum."""
        if self.settings.reduction == "sum":
            return {"loss": jnp.ones(())}
        return {"loss": jnp.sum(row_weights(self.network.kind, batch, self.settings))}

    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """Terms: `loss`. Metrics: `tokens`, and `accuracy` where the kind has one right label."""
        network, settings, kind = self.network, self.settings, self.network.kind
        merged = self.adaptation.merge(params, frozen)
        noise = draws.noise("discriminator_dropout") if train else None
        weight = row_weights(kind, batch, settings)

        def run(extra: jax.Array | None = None, again: bool = False) -> tuple[jax.Array, Outputs]:
            dropout = noise.fold(_SECOND_PASS) if again and noise is not None else noise
            outputs = network(merged, batch, dropout, True, extra)
            return row_losses(kind, outputs, batch, settings), outputs

        losses, outputs = run()
        if train and settings.fgm:
            adversarial, _ = run(self._adversarial_offset(run, batch, weight))
            losses = 0.5 * (losses + adversarial)
        if train and settings.r_drop:
            second, other = run(again=True)
            losses = 0.5 * (losses + second) + settings.r_drop * kind.divergence(outputs, other)
        total = jnp.sum(losses * weight)
        metrics = {"tokens": (jnp.sum(batch["lengths"]).astype(jnp.float32), jnp.ones(()))}
        if (gold := kind.targets(batch)) is not None:
            right = (jnp.argmax(outputs["logits"], -1) == gold).astype(jnp.float32)
            counted = (weight > 0).astype(jnp.float32)
            metrics["accuracy"] = (jnp.sum(right * counted), jnp.sum(counted))
        return {"loss": (total, self.weights(batch)["loss"])}, metrics

    def _adversarial_offset(self, run: Any, batch: Batch, weight: jax.Array) -> jax.Array:
        """ε · gradient / its norm, [B, L, E], normalised row by row."""
        zero = jnp.zeros(self.network.offset_shape(batch), jnp.float32)
        gradient = jax.grad(lambda offset: jnp.sum(run(offset)[0] * weight))(zero)
        norm = jnp.sqrt(jnp.sum(jnp.square(gradient), (1, 2), keepdims=True))
        return jax.lax.stop_gradient(self.settings.fgm * gradient / (norm + 1e-12))

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """loss (and accuracy in percent, as the scores of evaluation)."""
        row = {"loss": total_loss(self.coefficients, sums)}
        if "accuracy" in sums:
            row["accuracy"] = 100.0 * ratio(sums["accuracy"])
        return row
