"""ELECTRA 15 %: the discriminator is judged at the selected positions alone (Clark et al. 2020,
section 3.4).

Its optimum does not depend on the generator: the probability that a selected token is real becomes
that of the token in the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from electra_jax.objectives.base import Batch, Metric, Sums
from electra_jax.objectives.corruption import MaskedRows
from electra_jax.objectives.electra import ElectraObjective
from electra_jax.objectives.metrics import ratio
from electra_jax.objectives.terms import discriminator_sums

SELECTED_RATE = Metric(
    "selected_replaced_rate",
    "Replaced among the selected",
    "share of the selected tokens that are replaced",
    0,
    "Discriminator",
)


@dataclasses.dataclass(frozen=True)
class Electra15Objective(ElectraObjective):
    """ELECTRA whose detection loss is the mean over the selected positions.

    The paper leaves the other positions out of a sum: `discriminator_weight` × `mask_prob` is that
    weight where sums are means over all tokens.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (*ElectraObjective.metrics, SELECTED_RATE)

    def weights(self, batch: Batch, step: jax.Array | None = None) -> dict[str, jax.Array]:
        """The number of selected positions, of both terms."""
        selected = self.masking.selections(batch, step)
        return {"generator_loss": selected, "discriminator_loss": selected}

    def judge(
        self, logits: jax.Array, labels: jax.Array, rows: MaskedRows
    ) -> tuple[tuple[jax.Array, jax.Array], Sums]:
        """Loss and metrics of the selected positions alone; `replaced_rate` remains the share of
        all tokens."""
        at = rows.selection.positions
        chosen, real = (jnp.take_along_axis(x, at, axis=1) for x in (logits, labels))
        term, metrics = discriminator_sums(chosen, real, rows.selection.weights)
        metrics[SELECTED_RATE.key] = metrics["replaced_rate"]
        tokens = jnp.sum(rows.structure.valid).astype(jnp.float32)
        metrics["replaced_rate"] = (jnp.sum(labels).astype(jnp.float32), tokens)
        metrics["tokens"] = (tokens, jnp.ones(()))
        return term, metrics

    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """As ELECTRA's; skill is against the rate among the selected."""
        rate = sums[SELECTED_RATE.key]
        row = super().summarize({**sums, "replaced_rate": rate})
        return {
            **row,
            "replaced_rate": ratio(sums["replaced_rate"]),
            SELECTED_RATE.key: ratio(rate),
        }
