"""What answers by chance, and a constant answer, come to: what the kinds judge runs by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

ENOUGH = 20  # evaluation examples, to tell answers from chance by them alone
SURE = 3.0  # standard deviations above chance that outweigh a training loss
LEAST_SURE = 2.0  # and without which answers are no better than chance


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


def entropy_of(labels: Iterable[Any]) -> float:
    """The cross entropy in nats of the best constant answer to `labels`."""
    counts = Counter(labels)
    share = np.asarray(list(counts.values())) / max(sum(counts.values()), 1)
    return float(-(share * np.log(share)).sum())
