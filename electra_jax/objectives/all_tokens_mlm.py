"""All-tokens MLM: Replace MLM whose network predicts every token of the input, which it may also
copy (Clark et al. 2020, section 3.4).

    p(x_t) = c_t · [the token seen is x_t] + (1 − c_t) · softmax_t(x_t)

c_t, the probability of copying, is that of the replaced-token head: 1 − P(replaced). It learns
through this mixture alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from electra_jax.objectives.base import Batch, Metric, Sums, Tree, total_loss
from electra_jax.objectives.corruption import MaskedRows
from electra_jax.objectives.discriminator_lm import PREDICTION_METRICS, DiscriminatorLMObjective
from electra_jax.objectives.losses import copy_mixture_loss
from electra_jax.objectives.metrics import ratios
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.terms import (
    DISCRIMINATOR_METRICS,
    MASK_RATE,
    MASKED_LM_METRICS,
    SAMPLING_METRICS,
    discriminator_sums,
    summarize_discriminator,
)


@dataclasses.dataclass(frozen=True)
class AllTokensMLMObjective(DiscriminatorLMObjective):
    """A generator trained by masked-LM, and a network that predicts all original tokens, specials
    included. Its softmax runs over every position, by chunks of them."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        *PREDICTION_METRICS,
        *DISCRIMINATOR_METRICS,
        *MASKED_LM_METRICS,
        *SAMPLING_METRICS,
        MASK_RATE,
    )
    detects: ClassVar[bool] = True

    def head_share(self, seq_len: int) -> float:
        """Every position."""
        return 1.0

    def weights(self, batch: Batch, step: jax.Array | None = None) -> dict[str, jax.Array]:
        """Numbers of selected positions and of valid tokens."""
        valid = self.masking.structure(batch).valid
        return {
            "generator_loss": self.masking.selections(batch, step),
            "prediction_loss": jnp.sum(valid).astype(jnp.float32),
        }

    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """Terms `generator_loss`, `prediction_loss`, and metrics, those of the copying head as a
        discriminator included; `sampled_ids` as in ELECTRA."""
        rows = self.masking.mask(batch, draws, train)
        generator_rng, discriminator_rng = self.dropout(draws, train)
        found = self.corrupted(params, rows, generator_rng, draws, train, batch.get("sampled_ids"))
        hidden = self.discriminator_hidden(params, found.inputs, discriminator_rng)
        replaced: Any = self.model.apply(
            {"params": params}, hidden, found.inputs, method="replaced_logits"
        )
        term, more = self.predict_all(params, hidden, replaced, found.labels, rows)
        detection, copying = discriminator_sums(replaced, found.labels, rows.structure.valid)
        metrics = {
            **found.metrics,
            **self.masking.rate_metric(draws, train),
            **copying,
            **more,
            "discriminator_loss": detection,
        }
        return {"generator_loss": found.term, "prediction_loss": term}, metrics

    def predict_all(
        self,
        params: Tree,
        hidden: jax.Array,
        replaced: jax.Array,
        labels: jax.Array,
        rows: MaskedRows,
    ) -> tuple[tuple[jax.Array, jax.Array], Sums]:
        """((loss sum, weight), metrics) from states [B, L, H], logits [B, L] that a token was
        replaced and labels [B, L] whether it was."""
        losses, correct = self.predictions(params, hidden, rows.structure.inputs.input_ids)
        losses = copy_mixture_loss(-replaced, losses, labels == 0)
        valid = rows.structure.valid.astype(jnp.float32)
        chosen = jnp.take_along_axis(correct, rows.selection.positions, axis=1)
        weights = rows.selection.weights
        accuracy = (jnp.sum(chosen * weights), jnp.sum(weights))
        return (jnp.sum(losses * valid), jnp.sum(valid)), {"prediction_accuracy": accuracy}

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """The metrics of metrics.jsonl from summed terms and metrics."""
        names = ["prediction_loss", "prediction_accuracy", "generator_loss"]
        names += ["masked_lm_accuracy", "sampled_accuracy"]
        names += [MASK_RATE.key] * (MASK_RATE.key in sums)
        row = {"loss": total_loss(self.coefficients, sums), **ratios(sums, names)}
        return {**row, **summarize_discriminator(sums)}
