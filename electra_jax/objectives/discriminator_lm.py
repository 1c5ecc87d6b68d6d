"""Base class of objectives whose discriminator predicts the original tokens itself, by a masked-LM
head of its own over its word embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax

from electra_jax.config.fields import field_like
from electra_jax.config.schedule import Schedule, Scheduled
from electra_jax.flops import masked_lm_head_flops, replaced_head_flops
from electra_jax.interop.mapping.names import GENERATOR, MASKED_LM
from electra_jax.modeling.electra import Electra
from electra_jax.objectives.base import Metric, NetworkOf, Tree
from electra_jax.objectives.chunks import by_chunks
from electra_jax.objectives.electra import ElectraSettings
from electra_jax.objectives.losses import likeliest, masked_lm_loss
from electra_jax.objectives.pair import PairObjective

_D = "Discriminator"
PREDICTION_METRICS = (
    Metric("prediction_loss", "Prediction loss", "nats per token it predicts", -1, _D, True),
    Metric(
        "prediction_accuracy", "Prediction accuracy", "its likeliest, of the selected", 1, _D, True
    ),
)


@dataclasses.dataclass(frozen=True)
class DiscriminatorLMSettings(ElectraSettings):
    """Corruption and the weights of two cross-entropies, so equal by default."""

    discriminator_weight: Scheduled = field_like(ElectraSettings, "discriminator_weight", 1.0)


@dataclasses.dataclass(frozen=True)
class DiscriminatorLMObjective(PairObjective):
    """`detects` says whether the discriminator also has its replaced-token head."""

    Settings: ClassVar[type[Any]] = DiscriminatorLMSettings
    detects: ClassVar[bool] = False

    @property
    def model(self) -> Electra:
        """The pair, with the discriminator's masked-LM head."""
        return Electra(self.config, detects=self.detects, predicts=True)

    def head_share(self, seq_len: int) -> float:
        """The share of a row's positions at which the discriminator's masked-LM head runs."""
        return int((Schedule.parse(self.settings.mask_prob).maximum + 0.005) * seq_len) / seq_len

    def flops_per_token(self, seq_len: int) -> float:
        """The pair's, with the discriminator's masked-LM head at its positions."""
        shape = self.config.discriminator
        head = self.head_share(seq_len) * masked_lm_head_flops(shape)
        left_out = 0 if self.detects else replaced_head_flops(shape)
        return super().flops_per_token(seq_len) + 3 * (head - left_out)

    def networks(self, params: Tree) -> dict[str, NetworkOf]:
        """`masked_lm`, the discriminator's encoder with its masked-LM head, beside what a pair
        exports."""
        from electra_jax.interop.mapping.pair import with_sums

        tree = {
            "electra": with_sums(self.config, params)["electra"],
            "generator_predictions": params["masked_lm_predictions"],
        }
        own = NetworkOf(GENERATOR, self.config.discriminator, tree)
        return {**super().networks(params), MASKED_LM: own}

    def warm_start(
        self, init: str | None, init_generator: str | None, fresh: Tree, tokenizer_folder: Any
    ) -> tuple[Tree, list[str], int | None]:
        """As a pair; the discriminator's masked-LM head starts fresh."""
        tree, lines, step = super().warm_start(init, init_generator, fresh, tokenizer_folder)
        lines = [*lines, "the discriminator's masked-LM head: fresh"]
        return {name: tree[name] for name in fresh}, lines, step

    def predictions(
        self, params: Tree, hidden: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """(-log p, whether it is the likeliest) of `targets` int32 [B, N] at hidden states
        [B, N, H]: float32 and bool [B, N], by chunks of positions."""

        def scored(hidden: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
            logits: Any = self.model.apply({"params": params}, hidden, method="masked_lm_logits")
            return masked_lm_loss(logits, targets), likeliest(logits, targets)

        found: tuple[jax.Array, jax.Array] = by_chunks(scored, hidden, targets)
        return found

    @property
    def coefficients(self) -> Mapping[str, float | Schedule]:
        """total = generator_weight · L_G + discriminator_weight · L_D."""
        return {
            "generator_loss": self.settings.generator_weight,
            "prediction_loss": self.settings.discriminator_weight,
        }
