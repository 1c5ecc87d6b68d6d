"""Scores of constant and of random answers with their sampling errors: what the kinds judge a run
by.

A run is judged by its task's own score: `Comparison` sets it beside that of the best constant (or
random) answer on the same evaluation examples, with the standard error of the difference. Errors
are computed from each example's contribution, so that one that happens to be right proves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

ENOUGH = 20  # fewest evaluation examples from which chance is ruled out without the loss
SURE = 3.0  # standard deviations above chance that overrule a training loss
LEAST_SURE = 2.0  # standard deviations below which answers count as no better than chance
_LEAST_GAIN = 2.0, 0.1  # percent above a constant answer, or this share of what it lacks
_MOST_GAIN = 0.5  # share of what a constant answer lacks that is enough in any case


class Comparison(NamedTuple):
    """A run's score beside that of a constant or random answer, both in percent, the standard error
    of their difference, and the number of examples that they are of."""

    score: float
    constant: float
    error: float
    examples: int

    @property
    def beaten(self) -> bool:
        """Whether the run's score is better: by two standard errors (of few examples, whose errors
        are large, by little more than one) and by what matters, and always by half of what the
        constant answer lacks."""
        lacks = 100.0 - self.constant
        errors = min(LEAST_SURE, 1 + self.examples / 100) * self.error
        least = max(errors, min(_LEAST_GAIN[0], _LEAST_GAIN[1] * lacks))
        return self.score >= self.constant + min(least, _MOST_GAIN * lacks)

    @property
    def surely_beaten(self) -> bool:
        """Whether the run's score is better by three standard errors."""
        return self.beaten and self.score >= self.constant + SURE * self.error


def compare_means(run: npt.ArrayLike, constant: npt.ArrayLike) -> Comparison:
    """Scores that are means over examples; `run` and `constant` [n], 0 … 1 for each example."""
    one, other = np.asarray(run, float), np.asarray(constant, float)
    n = len(one)
    error = 100 * _error(one - other) / n
    return Comparison(100 * float(one.mean()), 100 * float(other.mean()), error, n)


def compare_f1(run: npt.ArrayLike, constant: npt.ArrayLike) -> Comparison:
    """Micro-F1 of spans or labels; `run` and `constant` [n, 3] count those that are correct,
    predicted and gold in each example. The error is by the delta method."""
    (one, influence), (other, constant_influence) = map(_micro_f1, (run, constant))
    error = 100 * _error(influence - constant_influence)
    return Comparison(100 * one, 100 * other, error, len(influence))


def compare_shares(run: npt.ArrayLike, constant: npt.ArrayLike, sizes: npt.ArrayLike) -> Comparison:
    """Shares of correct words over all examples; `run` and `constant` [n] count the correct words
    of each example, `sizes` [n] all of them."""
    one, other, words = (np.asarray(x, float) for x in (run, constant, sizes))
    total = words.sum()
    score, share = float(one.sum() / total), float(other.sum() / total)
    error = 100 * _error((one - other - (score - share) * words) / total)
    return Comparison(100 * score, 100 * share, error, len(words))


def association(
    gold: Sequence[Collection[Any]],
    predicted: Sequence[Collection[Any]],
    groups: npt.ArrayLike | None = None,
) -> float:
    """z-score of the covariance of gold and predicted labels: 0 on average where they are
    independent. The error is the larger of those of a permutation and of the data itself, so that
    a single rare label that is right has a score of 1. `groups` [n] numbers the sentences of words,
    which are not independent of each other."""
    n = len(gold)
    given, found = (Counter(x for labels in side for x in labels) for side in (gold, predicted))
    both = sum(given[x] * found[x] for x in given) / n**2 if n else 0.0
    each = np.array(
        [
            len(set(a) & set(b)) - sum(found[x] for x in a) / n - sum(given[x] for x in b) / n
            for a, b in zip(gold, predicted, strict=True)
        ],
        float,
    )
    each += both
    if groups is not None:
        each = np.bincount(np.asarray(groups), each)
    error = _error(each)
    if groups is None:
        null = above_chance(gold, predicted)
        error = max(error, each.sum() / null if null else 0.0)
    excess = float(each.sum())
    return excess / error if error else float(np.copysign(np.inf, excess)) if excess else 0.0


def no_better_than_chance(z: float, examples: int) -> bool:
    """Whether a z-score of answers is that of chance. Fewer than 200 examples, whose z-scores of
    answers that are right more often than not are small, must be further below."""
    return examples >= ENOUGH and z < min(LEAST_SURE, examples / 100)


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


def _micro_f1(counts: npt.ArrayLike) -> tuple[float, npt.NDArray[np.float64]]:
    """F1 (0 to 1; 0 where undefined), and each example's influence on it."""
    correct, predicted, gold = np.asarray(counts, float).T
    both = (predicted + gold).sum()
    if not both:
        return 0.0, np.zeros(len(correct))
    f1 = 2 * correct.sum() / both
    return float(f1), (2 * correct - f1 * (predicted + gold)) / both


def _error(contributions: npt.NDArray[np.float64]) -> float:
    """The standard error of a sum of independent contributions [n]; infinite for one alone."""
    n = len(contributions)
    if n < 2:
        return float("inf")
    return float(np.sqrt(np.var(contributions, ddof=1) * n))
