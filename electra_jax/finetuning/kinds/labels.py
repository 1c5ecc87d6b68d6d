"""Shared by the kinds with labels: the labels of data, and the loss of one right label."""

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
    """The set of labels of the examples. Raises `UserError` where it has fewer than `least`."""
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
    """The labels sorted; by value where all are integers."""
    names = list(labels)
    if all(re.fullmatch(r"[+-]?\d+", name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


class OneRight(HuggingFaceKind):
    """A kind with outputs "logits" [B, C] and one right class, batch["label"] int32 [B]."""

    def row_losses(self, outputs: Outputs, batch: Batch, settings: LossSettings) -> jax.Array:
        """Cross entropy."""
        return cross_entropy(outputs["logits"], batch["label"], settings.label_smoothing)

    def row_weights(self, batch: Batch, settings: LossSettings) -> jax.Array:
        """1, or the label's weight."""
        if settings.class_weights is None:
            return batch["weight"]
        return batch["weight"] * jnp.asarray(settings.class_weights)[batch["label"]]

    def divergence(self, one: Outputs, other: Outputs) -> jax.Array:
        """Symmetric divergence of two softmaxes, [B]."""
        return categorical_divergence(one["logits"], other["logits"])

    def targets(self, batch: Batch) -> jax.Array | None:
        """The label."""
        return batch["label"]
