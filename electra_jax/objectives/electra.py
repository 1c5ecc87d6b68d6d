"""The ELECTRA objective: mask, predict, sample, replace, detect — inside the compiled step, from
token ids alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from electra_jax.config.fields import field
from electra_jax.config.schedule import Schedule, Scheduled
from electra_jax.objectives.base import Alarm, Batch, Metric, Sums, Tree, total_loss
from electra_jax.objectives.corruption import MaskedRows
from electra_jax.objectives.corruption_settings import CorruptionSettings
from electra_jax.objectives.metrics import ratios
from electra_jax.objectives.pair import PairObjective
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
class ElectraSettings(CorruptionSettings):
    """Corruption and the weights of the two losses."""

    generator_weight: Scheduled = field(1.0, "of the generator's loss")
    discriminator_weight: Scheduled = field(50.0, "of the discriminator's loss")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("generator_weight", "discriminator_weight"):
            Schedule.parse(getattr(self, name), f"objective.{name}")


@dataclasses.dataclass(frozen=True)
class ElectraObjective(PairObjective):
    """Joint training of generator and discriminator (paper, section 2; reference
    `run_pretraining.py`)."""

    Settings: ClassVar[type[Any]] = ElectraSettings
    metrics: ClassVar[tuple[Metric, ...]] = (
        *DISCRIMINATOR_METRICS,
        *MASKED_LM_METRICS,
        *SAMPLING_METRICS,
        MASK_RATE,
    )

    @property
    def coefficients(self) -> Mapping[str, float | Schedule]:
        """total = generator_weight · L_G + discriminator_weight · L_D."""
        return {
            "generator_loss": self.settings.generator_weight,
            "discriminator_loss": self.settings.discriminator_weight,
        }

    def explain(self) -> Sequence[str]:
        """The total loss, and why skill in training falls while the temperature does."""
        lines = super().explain()
        temperature = Schedule.parse(self.settings.temperature)
        if temperature.is_constant:
            return lines
        return [
            *lines,
            f"skill in training is at the sampling temperature, which goes from "
            f"{temperature.initial:g} to {temperature.final:g} and makes replacements harder to "
            f"detect as it falls; held-out skill is at {temperature.final:g} throughout",
        ]

    def alarm(self, watch: Mapping[str, Any]) -> Sequence[Alarm]:
        """Warns of a discriminator that is still at chance, and of one that has learnt next to
        nothing by half of the run."""
        alarms = [
            Alarm(
                "discriminator_auc",
                watch["minimum_auc"],
                "the discriminator is at AUC {value:.2f} after {tokens:.3g} tokens, near chance; "
                "the usual causes are a learning rate too high for the size, a generator too "
                "strong or a batch too small",
            )
        ]
        if watch["minimum_skill"] > 0:
            alarms.append(
                Alarm(
                    "eval_rtd_skill",
                    watch["minimum_skill"],
                    "half of the run is over and the held-out skill is {value:.3f}: the "
                    f"discriminator knows little beyond the replaced rate. {self.remedy()}",
                    after_share=0.5,
                )
            )
        return alarms

    def remedy(self) -> str:
        """What most often helps a discriminator that does not learn."""
        rate = "Begin again with a lower optimizer.learning_rate (half)"
        if self.config.discriminator.block == "modern":
            return rate
        return (
            f"{rate}, or with pre-norm blocks (model.block=modern, with model.embedding_size equal "
            "to model.hidden_size), which leave this plateau"
        )

    def weights(self, batch: Batch, step: jax.Array | None = None) -> dict[str, jax.Array]:
        """Numbers of selected positions and of valid tokens."""
        valid = self.masking.structure(batch).valid
        return {
            "generator_loss": self.masking.selections(batch, step),
            "discriminator_loss": jnp.sum(valid).astype(jnp.float32),
        }

    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """Terms `generator_loss`, `discriminator_loss` and the metrics of both networks.

        A batch may hold `sampled_ids` int32 [B, N], which are then used as the replacements (to
        compare implementations on the same samples).
        """
        rows = self.masking.mask(batch, draws, train)
        return self.loss_of(params, rows, draws, train, batch.get("sampled_ids"))

    def loss_of(
        self,
        params: Tree,
        rows: MaskedRows,
        draws: Draws,
        train: bool,
        sampled: jax.Array | None = None,
    ) -> tuple[Sums, Sums]:
        """`loss` of rows that are masked already; samples replacements unless given."""
        generator_rng, discriminator_rng = self.dropout(draws, train)
        found = self.corrupted(params, rows, generator_rng, draws, train, sampled)
        logits = self.discriminator_logits(params, found.inputs, discriminator_rng)
        discriminator_term, more = self.judge(logits, found.labels, rows)
        more |= self.masking.rate_metric(draws, train)
        terms = {"generator_loss": found.term, "discriminator_loss": discriminator_term}
        return terms, {**found.metrics, **more}

    def judge(
        self, logits: jax.Array, labels: jax.Array, rows: MaskedRows
    ) -> tuple[tuple[jax.Array, jax.Array], Sums]:
        """((loss sum, weight), metrics) of the discriminator's logits [B, L]: every token but
        padding counts."""
        return discriminator_sums(logits, labels, rows.structure.valid)

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """The metrics of metrics.jsonl from summed terms and metrics."""
        names = ["generator_loss", "discriminator_loss", "masked_lm_accuracy", "sampled_accuracy"]
        names += [MASK_RATE.key] * (MASK_RATE.key in sums)
        row = {"loss": total_loss(self.coefficients, sums), **ratios(sums, names)}
        return {**row, **summarize_discriminator(sums)}
