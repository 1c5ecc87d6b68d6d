"""Re-ranking of n-best lists: score of the recogniser or translator + weight · log-probability of
the text, the weight chosen on a development set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

# Tried on a development set: 0 leaves the lists as they are.
WEIGHTS = tuple(round(0.05 * i, 2) for i in range(21))


class Ranked(NamedTuple):
    """An n-best list: `texts`, their own `scores` and the model's log-probabilities `model`, and
    the right text where it is known."""

    texts: Sequence[str]
    scores: Sequence[float]
    model: Sequence[float]
    reference: str | None = None

    def best(self, weight: float) -> int:
        """The number of the best hypothesis; of equal ones the first."""
        totals = np.asarray(self.scores, float) + weight * np.asarray(self.model, float)
        return int(np.argmax(totals))


def error_rate(lists: Sequence[Ranked], weight: float) -> float:
    """Words that are wrong in the best hypotheses per word of the references (characters, where no
    reference has a space)."""
    references = [ranked.reference or "" for ranked in lists]
    words = any(" " in reference.strip() for reference in references)
    wrong = total = 0
    for ranked, reference in zip(lists, references, strict=True):
        right = units(reference, words)
        wrong += edits(units(ranked.texts[ranked.best(weight)], words), right)
        total += len(right)
    return wrong / total if total else float("nan")


def choose_weight(lists: Sequence[Ranked]) -> tuple[float, dict[float, float]]:
    """(the weight with the lowest error rate, the smallest of equals; error rate by weight)."""
    rates = {weight: error_rate(lists, weight) for weight in WEIGHTS}
    return min(rates, key=lambda weight: (rates[weight], weight)), rates


def units(text: str, words: bool) -> list[str]:
    """What errors are counted in: words, or characters but spaces."""
    return text.split() if words else list("".join(text.split()))


def edits(found: Sequence[Any], right: Sequence[Any]) -> int:
    """Levenshtein distance: substitutions, insertions and deletions."""
    row = list(range(len(right) + 1))
    for i, one in enumerate(found, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(right, 1):
            change = diagonal + (one != other)
            diagonal = row[j]
            row[j] = min(row[j] + 1, row[j - 1] + 1, change)
    return row[-1]
