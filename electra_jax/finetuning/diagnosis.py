"""Whether a run learned anything: a run that did not is reported as one. Each kind judges its own
predictions; this module adds the training loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.finetuning.data.examples import Example
from electra_jax.finetuning.kinds.base import Kind
from electra_jax.finetuning.kinds.table import as_kind

# A training loss above this share of the best constant answer's counts as not learned.
LOSS_SHARE = 0.98


def constant_loss(
    kind: str | Kind, examples: Sequence[Example], target_range: tuple[float, float] = (0.0, 1.0)
) -> float | None:
    """The mean loss of the best constant answer: cross entropy in nats (multi-label: mean over the
    labels), for regression the variance of the targets scaled by `target_range`. None where the
    kind has no constant answer."""
    return as_kind(kind).constant_loss(examples, target_range)


def failure(
    kind: str | Kind,
    examples: Sequence[Any],
    predictions: Sequence[Mapping[str, Any]],
    scores: Mapping[str, float],
    train_loss: float | None,
    best_constant_loss: float | None,
) -> str | None:
    """Why a finished run counts as one that did not learn; None where it did.

    `train_loss` is the mean training loss of the run's end, None where it is not a plain mean
    (`LossSettings.plain`) that `best_constant_loss` can be compared with.
    """
    kind, learnt = as_kind(kind), None
    if train_loss is not None and best_constant_loss:
        learnt = train_loss < LOSS_SHARE * best_constant_loss
    if examples and (why := kind.not_learned(examples, predictions, scores, learnt)):
        return why
    if learnt is False and not kind.better_than_chance(examples, predictions, scores):
        return (
            f"its training loss ended at {train_loss:.3f}, where a constant answer has "
            f"{best_constant_loss:.3f}"
        )
    return None
