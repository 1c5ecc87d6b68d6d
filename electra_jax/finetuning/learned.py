"""Did a run learn anything? What a constant answer would score, and runs that do no better.

Promise 8: a fine-tune that did not learn is named, never passed on in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.finetuning.examples import (
    ChoiceExample,
    Example,
    QuestionExample,
    TaggedExample,
    TextExample,
)

# A training loss above this share of what the best constant answer has is no learning.
LOSS_SHARE = 0.98
_LEAST_RECALL = 0.05  # above chance, mean over labels
_LEAST_QUESTION_SCORE = 2.0  # percent of F1


def constant_loss(kind: str, examples: Sequence[Example]) -> float | None:
    """The mean cross entropy in nats of the best constant answer; None where there is no such
    thing."""
    if kind in ("classification", "relation"):
        counts = Counter(e.label for e in examples if isinstance(e, TextExample))
    elif kind == "tagging":
        counts = Counter(t for e in examples if isinstance(e, TaggedExample) for t in e.tags or ())
    elif kind in ("multiple_choice", "ranking"):
        sizes = [len(e.choices) for e in examples if isinstance(e, ChoiceExample)]
        return float(np.mean(np.log(sizes)))
    else:
        return None
    share = np.asarray(list(counts.values())) / max(sum(counts.values()), 1)
    return float(-(share * np.log(share)).sum())


def failure(
    kind: str,
    examples: Sequence[Any],
    predictions: Sequence[Mapping[str, Any]],
    scores: Mapping[str, float],
    train_loss: float | None,
    best_constant_loss: float | None,
) -> str | None:
    """Why a finished run counts as one that did not learn; None where it did.

    `train_loss` is the last logged mean of a "mean" loss without smoothing, None where it is
    another.
    """
    if train_loss is not None and best_constant_loss:
        if train_loss >= LOSS_SHARE * best_constant_loss:
            return (
                f"its training loss ended at {train_loss:.3f}, where a constant answer has "
                f"{best_constant_loss:.3f}"
            )
    if not examples:
        return None
    if kind in ("classification", "relation"):
        gold = [e.label for e in examples]
        found = [p["label"] for p in predictions]
        if len(set(found)) == 1 and len(set(gold)) > 1:
            return f'it answers "{found[0]}" to all {len(found)} evaluation examples'
        counts = Counter(gold)
        hits = Counter(a for a, b in zip(gold, found, strict=True) if a == b)
        label, most = counts.most_common(1)[0]
        recall = float(np.mean([hits[name] / count for name, count in counts.items()]))
        # Below the commonest label's share alone is no failure: weighted classes cost accuracy.
        if hits.total() < most and recall < 1 / len(counts) + _LEAST_RECALL:
            return (
                f"{hits.total()} of {len(gold)} evaluation examples are right, where always "
                f'"{label}" has {most}, and a label is found as often as by chance ({recall:.0%})'
            )
    elif kind == "multilabel":
        if len({tuple(p["labels"]) for p in predictions}) == 1 and len(predictions) > 1:
            return "it gives every evaluation example the same labels"
    elif kind == "regression":
        spread = float(np.std([p["score"] for p in predictions]))
        if len(predictions) > 1 and spread < 0.02 * float(np.std([e.label for e in examples])):
            return f"its answers hardly vary (standard deviation {spread:.2g})"
    elif kind == "tagging":
        tags = {t for p in predictions for t in p["tags"] if t is not None}
        if len(tags) == 1 and len({t for e in examples for t in e.tags or ()}) > 1:
            return f'it tags every word "{next(iter(tags))}"'
    elif kind in ("multiple_choice", "ranking"):
        chance = float(np.mean([1 / len(e.choices) for e in examples]))
        right = sum(e.label == p["prediction"] for e, p in zip(examples, predictions, strict=True))
        if right / len(examples) <= chance:
            return f"{right} of {len(examples)} choices are right, no more than by chance"
    elif kind == "question_answering":
        unanswerable = sum(isinstance(e, QuestionExample) and e.is_impossible for e in examples)
        score, silent = scores.get("f1", 100.0), 0.0
        if "best_f1" in scores:  # where saying that there is no answer can be right
            score, silent = scores["best_f1"], 100.0 * unanswerable / len(examples)
        if unanswerable < len(examples) and not any(p["prediction_text"] for p in predictions):
            return "it answers no question"
        if unanswerable < len(examples) and score < silent + _LEAST_QUESTION_SCORE:
            beside = f", where answering no question has {silent:.1f}" if silent else ""
            return f"its F1 is {score:.1f}{beside}"
    return None
