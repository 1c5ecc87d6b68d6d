"""What the kinds with labels share: the labels of data, and a loss for one right label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.config.finetuning import LossSettings
from electra_jax.errors import UserError
from electra_jax.finetuning.kinds.base import Batch, HuggingFaceKind, Outputs
from electra_jax.finetuning.losses import categorical_divergence, cross_entropy


def labels_in(
    examples: Iterable[Any], labels_of: Callable[[Any], Iterable[str]], least: int = 2
) -> set[str]:
    """The labels that occur. Raises `UserError` where there are none, or fewer than `least`."""
    found: set[str] = set()
    count = 0
    for example in examples:
        count += 1
        found.update(labels_of(example))
    if not found:
        raise UserError(f"none of the {count} training examples has a label")
    if len(found) < least:
        raise UserError(
            f'all {count} training examples have the same label, "{min(found)}"; there is nothing '
            "to learn, and most metrics are undefined: give data with at least two labels"
        )
    return found


def natural_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Sorted; by value where all labels are integers."""
    names = list(labels)
    if all(re.fullmatch(r"[+-]?\d+", name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


class OneRight(HuggingFaceKind):
    """A kind whose outputs are "logits" [B, C] of which one, batch["label"] [B], is right."""

    def row_losses(self, outputs: Outputs, batch: Batch, settings: LossSettings) -> jax.Array:
        """Cross entropy."""
        return cross_entropy(outputs["logits"], batch["label"], settings.label_smoothing)

    def row_weights(self, batch: Batch, settings: LossSettings) -> jax.Array:
        """1, or the label's weight."""
        if settings.class_weights is None:
            return batch["weight"]
        return batch["weight"] * jnp.asarray(settings.class_weights)[batch["label"]]

    def divergence(self, one: Outputs, other: Outputs) -> jax.Array:
        """Of two softmaxes."""
        return categorical_divergence(one["logits"], other["logits"])

    def targets(self, batch: Batch) -> jax.Array | None:
        """The label."""
        return batch["label"]
