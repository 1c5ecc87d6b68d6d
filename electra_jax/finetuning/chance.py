"""Scores of constant and of random answers, against which the kinds judge a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

ENOUGH = 20  # fewest evaluation examples from which chance is ruled out without the loss
SURE = 3.0  # standard deviations above chance that overrule a training loss
LEAST_SURE = 2.0  # standard deviations below which answers count as no better than chance


def above_chance(gold: Sequence[Collection[Any]], predicted: Sequence[Collection[Any]]) -> float:
    """z-score of the number of correct labels against a permutation null: the predicted labels
    shuffled over the examples. Examples with several labels are shuffled label by label."""
    n = len(gold)
    given, found = (Counter(x for labels in side for x in labels) for side in (gold, predicted))
    hits = sum(len(set(a) & set(b)) for a, b in zip(gold, predicted, strict=True))
    products = [given[x] * found[x] for x in given]
    if n < 2 or not any(products):
        return 0.0
    # Hits of one label are hypergeometric; with one label an example, add their covariances.
    variance = float(sum(given[x] * found[x] * (n - given[x]) * (n - found[x]) for x in given))
    if all(len(labels) == 1 for labels in (*gold, *predicted)):
        variance += sum(products) ** 2 - sum(p * p for p in products)
    variance /= n * n * (n - 1)
    return (hits - sum(products) / n) / variance**0.5 if variance > 0 else 0.0


def entropy_of(labels: Iterable[Any]) -> float:
    """The cross entropy in nats of the best constant answer to `labels`."""
    counts = Counter(labels)
    share = np.asarray(list(counts.values())) / max(sum(counts.values()), 1)
    return float(-(share * np.log(share)).sum())
