"""Plain masked-LM pretraining: the baseline that everyone compares with (the reference with both
objectives off)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.config import ElectraConfig
from electra_jax.modeling.electra import Inputs, MaskedLM, padding_mask
from electra_jax.objectives.base import Batch, Sums, Tree, total_loss
from electra_jax.objectives.draws import Draws
from electra_jax.objectives.electra import Masking, masked_lm_sums
from electra_jax.objectives.metrics import ratios


@dataclasses.dataclass(frozen=True)
class MaskedLMObjective:
    """One full-size network that predicts the masked tokens."""

    config: ElectraConfig
    masking: Masking

    @property
    def model(self) -> MaskedLM:
        """The Linen module."""
        return MaskedLM(self.config)

    @property
    def coefficients(self) -> Mapping[str, float]:
        """The total is the masked-LM loss."""
        return {"generator_loss": 1.0}

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """Fresh parameters; nothing is frozen."""
        ids = jnp.zeros((1, self.masking.seq_len), jnp.int32)
        return self.model.init(key, Inputs(ids, padding_mask(ids + 1)), ids[:, :1])["params"], {}

    def weights(self, batch: Batch) -> dict[str, jax.Array]:
        """Selected slots of a batch."""
        return {"generator_loss": self.masking.selections(batch)}

    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """The term `generator_loss` and `masked_lm_accuracy`."""
        rows = self.masking.mask(batch, draws)
        noise = draws.noise("generator_dropout") if train else None
        logits: Any = self.model.apply(
            {"params": params}, rows.masked_inputs, rows.selection.positions, noise
        )
        term, metrics = masked_lm_sums(logits, rows)
        valid = rows.structure.valid.astype(jnp.float32)
        metrics["tokens"] = (jnp.sum(valid), jnp.ones(()))
        return {"generator_loss": term}, metrics

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """loss, generator_loss (the same) and masked_lm_accuracy."""
        row = {"loss": total_loss(self.coefficients, sums)}
        return {**row, **ratios(sums, ["generator_loss", "masked_lm_accuracy"])}
