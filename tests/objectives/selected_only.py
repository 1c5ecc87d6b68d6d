"""ELECTRA-15 % (Clark et al. 2020, section 3.4): the discriminator learns from the selected
positions alone. A user's own file: nothing in the package knows it."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from electra_jax.config.fields import field
from electra_jax.objectives.base import Metric, total_loss
from electra_jax.objectives.corruption import CorruptionSettings
from electra_jax.objectives.masking import scatter_update
from electra_jax.objectives.metrics import ratios
from electra_jax.objectives.pair import PairObjective
from electra_jax.objectives.terms import (
    DISCRIMINATOR_METRICS,
    discriminator_sums,
    masked_lm_sums,
    summarize_discriminator,
)


@dataclasses.dataclass(frozen=True)
class Settings(CorruptionSettings):
    """Corruption, and the weight of the discriminator's loss."""

    detection_weight: float = field(50.0, "of the discriminator's loss")


class SelectedOnly(PairObjective):
    """Detection at the positions that the generator predicts."""

    Settings: ClassVar[type[Any]] = Settings
    metrics = (
        *DISCRIMINATOR_METRICS,
        Metric("cloze_loss", "Cloze loss", "nats per masked token", -1, "Cloze", True, "cloze"),
    )

    @property
    def coefficients(self):
        return {"cloze_loss": 1.0, "discriminator_loss": self.settings.detection_weight}

    def weights(self, batch, step=None):
        selected = self.masking.selections(batch, step)
        return {"cloze_loss": selected, "discriminator_loss": selected}

    def loss(self, params, frozen, batch, draws, train):
        rows = self.masking.mask(batch, draws, train)
        generator_noise, discriminator_noise = self.dropout(draws, train)
        logits = self.generator_logits(params, rows, generator_noise)
        cloze, _ = masked_lm_sums(logits, rows)
        inputs, labels = self.corrupt(rows, self.replacements(params, logits, rows, draws, train))
        ones = jnp.ones_like(rows.selection.positions)
        selected = scatter_update(jnp.zeros_like(labels), ones, rows.selection)
        logits = self.discriminator_logits(params, inputs, discriminator_noise)
        found, metrics = discriminator_sums(logits, labels, selected)
        tokens = jnp.sum(rows.structure.valid).astype(jnp.float32)
        metrics["tokens"] = (tokens, jnp.ones(()))
        return {"cloze_loss": cloze, "discriminator_loss": found}, metrics

    def summarize(self, sums):
        row = {"loss": total_loss(self.coefficients, sums), **ratios(sums, ["cloze_loss"])}
        return {**row, **summarize_discriminator(sums)}
