"""Replace MLM: masked-LM pretraining whose input has a generator's samples in place of [MASK]
(Clark et al. 2020, section 3.4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from electra_jax.modeling.electra import gather_positions
from electra_jax.objectives.base import Batch, Metric, Sums, Tree, total_loss
from electra_jax.objectives.discriminator_lm import PREDICTION_METRICS, DiscriminatorLMObjective
from electra_jax.objectives.metrics import ratios
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.terms import MASK_RATE, MASKED_LM_METRICS, SAMPLING_METRICS


@dataclasses.dataclass(frozen=True)
class ReplaceMLMObjective(DiscriminatorLMObjective):
    """A generator trained by masked-LM, and a network that predicts the original tokens at the
    selected positions of what the generator made of them. It has no replaced-token head."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        *PREDICTION_METRICS,
        *MASKED_LM_METRICS,
        *SAMPLING_METRICS,
        MASK_RATE,
    )

    def weights(self, batch: Batch, step: jax.Array | None = None) -> dict[str, jax.Array]:
        """The number of selected positions, of both terms."""
        selected = self.masking.selections(batch, step)
        return {"generator_loss": selected, "prediction_loss": selected}

    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """Terms `generator_loss`, `prediction_loss`, and metrics; `sampled_ids` as in ELECTRA."""
        rows = self.masking.mask(batch, draws, train)
        generator_rng, discriminator_rng = self.dropout(draws, train)
        found = self.corrupted(params, rows, generator_rng, draws, train, batch.get("sampled_ids"))
        hidden = self.discriminator_hidden(params, found.inputs, discriminator_rng)
        hidden = gather_positions(hidden, rows.selection.positions)
        losses, correct = self.predictions(params, hidden, rows.targets)
        weights = rows.selection.weights
        selected = jnp.sum(weights)
        tokens = jnp.sum(rows.structure.valid).astype(jnp.float32)
        metrics = {
            **found.metrics,
            **self.masking.rate_metric(draws, train),
            "prediction_accuracy": (jnp.sum(correct * weights), selected),
            "replaced_rate": (jnp.sum(found.labels).astype(jnp.float32), tokens),
            "tokens": (tokens, jnp.ones(())),
        }
        term = (jnp.sum(losses * weights), selected)
        return {"generator_loss": found.term, "prediction_loss": term}, metrics

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """The metrics of metrics.jsonl from summed terms and metrics."""
        names = [metric.key for metric in self.metrics if metric.key in sums]
        return {"loss": total_loss(self.coefficients, sums), **ratios(sums, names)}
