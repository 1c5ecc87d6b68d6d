"""Did a run learn anything? What a constant answer would score, and runs that do no better.

Promise 8: a fine-tune that did not learn is named, never passed on in silence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
_ENOUGH = 20  # evaluation examples, to tell answers from chance by them alone
_SURE = 3.0  # standard deviations above chance that outweigh a training loss
_COMMON = 0.8  # a label's share from which the others' part of the loss is noise
_LEAST_SURE = 2.0  # and without which answers are no better than chance


def constant_loss(
    kind: str, examples: Sequence[Example], target_range: tuple[float, float] = (0.0, 1.0)
) -> float | None:
    """The mean loss of the best constant answer: cross entropy in nats, of several labels a text
    the mean of theirs, of a regression the variance of its targets scaled by `target_range`. None
    of questions, whose places have no constant."""
    if kind == "regression":
        low, high = target_range
        targets = [float(e.label) for e in examples if isinstance(e, TextExample)]  # type: ignore
        return float(np.var(targets)) / (high - low) ** 2
    if kind == "multilabel":
        found = Counter(x for e in examples if isinstance(e, TextExample) for x in e.label)  # type: ignore
        if not found:
            return None
        share = np.asarray(list(found.values())) / len(examples)
        rest = np.clip(1.0 - share, 1e-12, 1.0)
        return float(np.mean(-share * np.log(share) - rest * np.log(rest)))
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
    learnt = None
    if train_loss is not None and best_constant_loss:
        learnt = train_loss < LOSS_SHARE * best_constant_loss
    if examples and (why := _by_answers(kind, examples, predictions, scores, learnt)):
        return why
    if learnt is False and not _better_than_chance(kind, examples, predictions, scores):
        return (
            f"its training loss ended at {train_loss:.3f}, where a constant answer has "
            f"{best_constant_loss:.3f}"
        )
    return None


def above_chance(gold: Sequence[Collection[Any]], said: Sequence[Collection[Any]]) -> float:
    """By how many standard deviations the labels said are right more often than the same labels
    dealt out by chance would be. One label an example, or several that are dealt out one by one."""
    n = len(gold)
    given, found = (Counter(x for labels in side for x in labels) for side in (gold, said))
    hits = sum(len(set(a) & set(b)) for a, b in zip(gold, said, strict=True))
    products = [given[x] * found[x] for x in given]
    if n < 2 or not any(products):
        return 0.0
    # Of each label a hypergeometric count; where each example has one, also their covariances.
    variance = float(sum(given[x] * found[x] * (n - given[x]) * (n - found[x]) for x in given))
    if all(len(labels) == 1 for labels in (*gold, *said)):
        variance += sum(products) ** 2 - sum(p * p for p in products)
    variance /= n * n * (n - 1)
    return (hits - sum(products) / n) / variance**0.5 if variance > 0 else 0.0


def _right_choices(
    examples: Sequence[Any], predictions: Sequence[Mapping[str, Any]]
) -> tuple[int, int, float, float]:
    """Of the examples with a choice to make: how many, how many right, and by chance the expected
    number and its standard deviation."""
    pairs = [x for x in zip(examples, predictions, strict=True) if len(x[0].choices) > 1]
    chances = [1 / len(e.choices) for e, _ in pairs]
    right = sum(e.label == p["prediction"] for e, p in pairs)
    return len(pairs), right, sum(chances), sum(c * (1 - c) for c in chances) ** 0.5


def _better_than_chance(
    kind: str,
    examples: Sequence[Any],
    predictions: Sequence[Mapping[str, Any]],
    scores: Mapping[str, float],
) -> bool:
    """Whether the answers alone show that something was learnt, whatever the training loss: it is
    the mean of a few steps, and noisy where one label is rare. Elsewhere half of what a constant
    answer gets wrong must be right: a run that came back to a constant may keep an early step."""
    if kind in ("classification", "relation"):
        gold, said = [[e.label] for e in examples], [[p["label"]] for p in predictions]
        if above_chance(gold, said) < _SURE:
            return False
        share = Counter(e.label for e in examples).most_common(1)[0][1] / len(examples)
        right = float(np.mean([a == b for a, b in zip(gold, said, strict=True)]))
        return share >= _COMMON or right >= (1 + share) / 2
    if kind == "multilabel":
        return (
            above_chance([e.label for e in examples], [p["labels"] for p in predictions]) >= _SURE
        )
    if kind == "regression" and examples:
        return scores.get("pearson", 0.0) / 100 >= _SURE / len(examples) ** 0.5
    if kind in ("multiple_choice", "ranking"):
        count, right, chance, spread = _right_choices(examples, predictions)
        return count > 0 and right - chance >= max(_SURE * spread, (count - chance) / 2)
    return False


def _by_answers(
    kind: str,
    examples: Sequence[Any],
    predictions: Sequence[Mapping[str, Any]],
    scores: Mapping[str, float],
    learnt: bool | None,
) -> str | None:
    """Why answers are those of a run that did not learn; `learnt`: what its training loss says."""
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
        gold, said = [e.label for e in examples], [p["labels"] for p in predictions]
        differ = len({tuple(sorted(labels)) for labels in gold}) > 1
        if differ and len({tuple(labels) for labels in said}) == 1:
            return "it gives every evaluation example the same labels"
        if differ and len(examples) >= _ENOUGH and above_chance(gold, said) < _LEAST_SURE:
            return "its labels are right no more often than by chance"
    elif kind == "regression":
        spread = float(np.std([p["score"] for p in predictions]))
        if len(predictions) > 1 and spread < 0.02 * float(np.std([e.label for e in examples])):
            return f"its answers hardly vary (standard deviation {spread:.2g})"
        correlation = scores.get("pearson", math.nan) / 100
        if len(examples) >= _ENOUGH and correlation < _LEAST_SURE / len(examples) ** 0.5:
            return f"its answers do not rise with the targets (correlation {correlation:.2f})"
    elif kind == "tagging":
        tags = {t for p in predictions for t in p["tags"] if t is not None}
        if len(tags) == 1 and len({t for e in examples for t in e.tags or ()}) > 1:
            return f'it tags every word "{next(iter(tags))}"'
    elif kind in ("multiple_choice", "ranking"):
        count, right, chance, _ = _right_choices(examples, predictions)
        if count and right <= chance and not (learnt and count < _ENOUGH):
            return f"{right} of {count} choices are right, no more than by chance"
    elif kind == "question_answering":
        unanswerable = sum(isinstance(e, QuestionExample) and e.is_impossible for e in examples)
        score, silent = scores.get("f1", 100.0), 0.0
        if "best_f1" in scores:  # where saying that there is no answer can be right
            score, silent = scores["best_f1"], 100.0 * unanswerable / len(examples)
        if unanswerable < len(examples) and not any(p["prediction_text"] for p in predictions):
            return "it answers no question"
        least = min(_LEAST_QUESTION_SCORE, 0.1 * (100.0 - silent))  # above what silence has
        if unanswerable < len(examples) and score < silent + least:
            beside = f", where answering no question has {silent:.1f}" if silent else ""
            return f"its F1 is {score:.1f}{beside}"
    return None
