"""Loss terms and metrics as functions of logits, and how those metrics are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.objectives.base import Metric, Sums
from electra_jax.objectives.corruption import MaskedRows
from electra_jax.objectives.losses import likeliest, masked_lm_loss, replaced_token_loss
from electra_jax.objectives.metrics import auc, auc_counts, ratios, rtd_skill

_D, _G = "Discriminator", "Generator"
DISCRIMINATOR_METRICS = (
    Metric(
        "rtd_skill", "Skill", "0: knows only the replaced rate; 1: perfect", 1, _D, True, "skill"
    ),
    Metric("discriminator_auc", "AUC", "0.5: chance; 1: perfect", 1, _D, True),
    Metric("discriminator_loss", "Discriminator loss", "nats per token", -1, _D),
    Metric("discriminator_accuracy", "Discriminator accuracy", "", 1, _D),
    Metric("discriminator_precision", "Precision", "flagged that were replaced", 1, _D),
    Metric("discriminator_recall", "Recall", "replaced that were flagged", 1, _D),
)
MASKED_LM_METRICS = (
    Metric("generator_loss", "Generator loss", "nats per masked token", -1, _G, True),
    Metric("masked_lm_accuracy", "Masked-token accuracy", "its likeliest token", 1, _G, True),
)
SAMPLING_METRICS = (
    Metric("sampled_accuracy", "Sampled accuracy", "its samples that are the original", 0, _G),
    Metric("replaced_rate", "Replaced rate", "share of all tokens that are replaced", 0, _G),
)
# Logged where it is scheduled.
MASK_RATE = Metric("mask_prob", "Mask rate", "share of tokens that are predicted", 0, _G)


def masked_lm_sums(
    logits: jax.Array, rows: MaskedRows, z_loss: float = 0.0
) -> tuple[tuple[jax.Array, jax.Array], Sums]:
    """((loss sum, weight), metrics) of masked-LM logits [B, N, V]; `z_loss` as in
    `masked_lm_loss`."""
    weights = rows.selection.weights
    losses = masked_lm_loss(logits, rows.targets, z_loss)
    correct = likeliest(logits, rows.targets) * weights
    term = (jnp.sum(losses * weights), jnp.sum(weights))
    return term, {"masked_lm_accuracy": (jnp.sum(correct), jnp.sum(weights))}


def discriminator_sums(
    logits: jax.Array, labels: jax.Array, valid: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], Sums]:
    """((loss sum, weight), metrics) of discriminator logits [B, L] over the tokens that `valid`
    [B, L] counts; ELECTRA counts all but padding, specials included."""
    weights = valid.astype(jnp.float32)
    tokens = jnp.sum(weights)
    fake = labels * weights
    flagged = (logits > 0) * weights
    true_above, false_above = auc_counts(jax.nn.sigmoid(logits), labels, weights)
    metrics = {
        "tokens": (tokens, jnp.ones(())),
        "replaced_rate": (jnp.sum(fake), tokens),
        "discriminator_accuracy": (jnp.sum((flagged == labels) * weights), tokens),
        "discriminator_precision": (jnp.sum(flagged * fake), jnp.sum(flagged)),
        "discriminator_recall": (jnp.sum(flagged * fake), jnp.sum(fake)),
        "discriminator_auc": (true_above, false_above),
    }
    losses = replaced_token_loss(logits, labels)
    return (jnp.sum(losses * weights), tokens), metrics


def summarize_discriminator(sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
    """The numbers of `DISCRIMINATOR_METRICS` and the replaced rate from `discriminator_sums`."""
    names = ["discriminator_loss", "replaced_rate", "discriminator_accuracy"]
    row = ratios(sums, [*names, "discriminator_precision", "discriminator_recall"])
    row["discriminator_auc"] = auc(*sums["discriminator_auc"])
    row["rtd_skill"] = rtd_skill(row["discriminator_loss"], row["replaced_rate"])
    return row
