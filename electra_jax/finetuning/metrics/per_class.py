"""Precision, recall and F1 of each class, whatever a class is: a label, a type of span, a tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from electra_jax.finetuning.metrics.classification import Scores, scores_of_counts

MOST_CLASSES = 30  # rows of a table; of more classes the worst are shown
COLUMNS = ("class", "precision", "recall", "F1", "support")

ClassScores = dict[str, Scores]


def class_scores(
    gold: Iterable[Collection[tuple[Any, ...]]],
    predicted: Iterable[Collection[tuple[Any, ...]]],
    classes: Iterable[str] = (),
) -> ClassScores:
    """Scores by class, sorted, in percent.

    Args:
      gold, predicted: of each example a set of items, tuples whose first entry is the class; an
        item is right where both sets have it.
      classes: those to list even where no item has them.
    """
    correct: Counter[str] = Counter()
    in_gold: Counter[str] = Counter()
    in_predicted: Counter[str] = Counter()
    for right, answered in zip(gold, predicted, strict=True):
        correct.update(item[0] for item in set(right) & set(answered))
        in_gold.update(item[0] for item in right)
        in_predicted.update(item[0] for item in answered)
    names = dict.fromkeys([*classes, *sorted(in_gold.keys() | in_predicted.keys())])
    return {n: scores_of_counts(correct[n], in_predicted[n], in_gold[n]) for n in names}


def tag_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str | None]]
) -> ClassScores:
    """Scores by tag; a predicted tag is None where a word was not predicted."""
    return class_scores(
        [{(tag, i) for i, tag in enumerate(tags)} for tags in gold],
        [{(tag, i) for i, tag in enumerate(tags) if tag is not None} for tags in predicted],
    )


def class_table(scores: Mapping[str, Scores]) -> tuple[str, list[list[str]]]:
    """(title, rows under `COLUMNS`): all classes, or the `MOST_CLASSES` with the lowest F1."""
    title, shown = "Scores by class, in %", list(scores.items())
    if len(scores) > MOST_CLASSES:
        title = f"Scores by class, in %: the {MOST_CLASSES} lowest of {len(scores)}"
        shown = sorted(shown, key=lambda item: (item[1].f1, -item[1].support))[:MOST_CLASSES]
    rows = [
        [name, *(f"{x:.1f}" for x in (s.precision, s.recall, s.f1)), f"{s.support:,}"]
        for name, s in shown
    ]
    return title, rows


def describe_classes(scores: Mapping[str, Scores]) -> str:
    """The table as lines of text; "" without classes."""
    if not scores:
        return ""
    title, rows = class_table(scores)
    cells = [list(COLUMNS), *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
        for row in cells
    ]
    return "\n".join([title, *lines])
