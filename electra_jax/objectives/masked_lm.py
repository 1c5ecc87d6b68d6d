"""Plain masked-LM pretraining (BERT's objective without sentence pairs), the baseline of the
paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from electra_jax.config.model import ElectraConfig
from electra_jax.config.schedule import Schedule
from electra_jax.flops import masked_lm_flops_per_token
from electra_jax.modeling.electra import Inputs, MaskedLM, padding_mask
from electra_jax.objectives.base import (
    Batch,
    Metric,
    NetworkOf,
    RunShape,
    Sums,
    Tree,
    total_loss,
)
from electra_jax.objectives.configured import ConfiguredObjective
from electra_jax.objectives.corruption import Masking
from electra_jax.objectives.corruption_settings import MaskingSettings
from electra_jax.objectives.metrics import ratios
from electra_jax.objectives.pair import masking_of, pair_from_config
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.terms import MASK_RATE, MASKED_LM_METRICS, masked_lm_sums


@dataclasses.dataclass(frozen=True)
class MaskedLMObjective(ConfiguredObjective):
    """One full-size network that predicts the masked tokens."""

    config: ElectraConfig
    masking: Masking

    Settings: ClassVar[type[Any]] = MaskingSettings
    unread: ClassVar[tuple[str, ...]] = (
        "sampler",
        "temperature",
        "initial_temperature",
        "temperature_fraction",
        "disallow_correct",
        "sample_with_dropout",
        "generator_weight",
        "discriminator_weight",
    )
    metrics: ClassVar[tuple[Metric, ...]] = (*MASKED_LM_METRICS, MASK_RATE)

    @classmethod
    def from_config(cls, settings: Any, run: RunShape) -> MaskedLMObjective:
        """Over the discriminator's shape in `model.*`, or that of what `init` names."""
        config = pair_from_config(run.config, run.vocab_size, run.special.pad).discriminator
        init, init_generator = run.config["init"], run.config["init_generator"]
        if init or init_generator:
            from electra_jax.interop.warm_start import initial_config

            config = initial_config(init, init_generator, config)
        run.check_positions(config.max_position_embeddings)
        return cls(config, masking_of(settings, run))

    @property
    def model(self) -> MaskedLM:
        """The Linen module."""
        return MaskedLM(self.config)

    @property
    def coefficients(self) -> Mapping[str, float | Schedule]:
        """The total is the masked-LM loss."""
        return {"generator_loss": 1.0}

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """Fresh parameters; nothing is frozen."""
        ids = jnp.zeros((1, self.masking.seq_len), jnp.int32)
        return self.model.init(key, Inputs(ids, padding_mask(ids + 1)), ids[:, :1])["params"], {}

    def networks(self, params: Tree) -> dict[str, NetworkOf]:
        """The one network, with its masked-LM head."""
        return {"generator": NetworkOf("generator", self.config, params)}

    def flops_per_token(self, seq_len: int) -> float:
        """The masked-LM head at the largest mask rate."""
        share = Schedule.parse(self.masking.settings.mask_prob).maximum
        masked = int((share + 0.005) * seq_len) / seq_len
        return 3 * masked_lm_flops_per_token(self.config, seq_len, masked)

    def weights(self, batch: Batch, step: jax.Array | None = None) -> dict[str, jax.Array]:
        """Number of selected positions."""
        return {"generator_loss": self.masking.selections(batch, step)}

    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """The term `generator_loss` and `masked_lm_accuracy`."""
        rows = self.masking.mask(batch, draws, train)
        dropout_rng = draws.noise("generator_dropout") if train else None
        logits: Any = self.model.apply(
            {"params": params}, rows.masked_inputs, rows.selection.positions, dropout_rng
        )
        term, metrics = masked_lm_sums(logits, rows, self.masking.settings.z_loss)
        valid = rows.structure.valid.astype(jnp.float32)
        metrics["tokens"] = (jnp.sum(valid), jnp.ones(()))
        metrics |= self.masking.rate_metric(draws, train)
        return {"generator_loss": term}, metrics

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """loss, generator_loss (the same) and masked_lm_accuracy."""
        names = ["generator_loss", "masked_lm_accuracy"]
        names += [MASK_RATE.key] * (MASK_RATE.key in sums)
        return {"loss": total_loss(self.coefficients, sums), **ratios(sums, names)}
