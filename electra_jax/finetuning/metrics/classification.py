"""Metrics of fine-tuning tasks as their official scripts compute them: lists in, numbers out.

Everything that is a share or a correlation is in percent; `mean_squared_error` is in the square of
the target's unit. An undefined metric has the value that the official script gives it (0, or NaN
for correlations), with one line of warning.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from electra_jax.finetuning.metrics.spans import find_spans

log = logging.getLogger(__name__)

OTHER = "Other"


class Scores(NamedTuple):
    """Precision, recall and their harmonic mean, in percent; `support` is the number of gold labels
    or spans."""

    precision: float
    recall: float
    f1: float
    support: int


def scores_of_counts(correct: int, predicted: int, gold: int) -> Scores:
    """Scores from counts; a share of nothing is 0 (scikit-learn, seqeval and conlleval alike)."""
    precision = 100 * correct / predicted if predicted else 0.0
    recall = 100 * correct / gold if gold else 0.0
    both = precision + recall
    return Scores(precision, recall, 2 * precision * recall / both if both else 0.0, gold)


def accuracy(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Percent of `predicted` that equal `gold`; both [n], of anything that can be compared."""
    gold, predicted = _paired(gold, predicted)
    if not gold.size:
        return _undefined("accuracy", "there are no examples", 0.0)
    return 100 * float(np.mean(gold == predicted))


def matthews_correlation(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Matthews' correlation in percent, of two or more classes (GLUE's metric of CoLA).

    Args:
      gold, predicted: labels [n].
    """
    matrix = confusion_matrix(gold, predicted).astype(np.float64)
    golds, predictions, total = matrix.sum(1), matrix.sum(0), matrix.sum()
    spread = (total**2 - golds @ golds) * (total**2 - predictions @ predictions)
    if spread == 0:
        who = "gold labels" if total**2 == golds @ golds else "predictions"
        return _undefined("Matthews correlation", f"all {who} are the same", 0.0)
    return 100 * float((matrix.trace() * total - golds @ predictions) / np.sqrt(spread))


def binary_f1(gold: npt.ArrayLike, predicted: npt.ArrayLike, positive: Any = 1) -> Scores:
    """Precision, recall and F1 of one label against all others (GLUE's metric of MRPC and QQP).

    Args:
      gold, predicted: labels [n].
      positive: the label that counts.
    """
    gold, predicted = _paired(gold, predicted)
    is_gold, is_predicted = gold == positive, predicted == positive
    if not (is_gold.any() and is_predicted.any()):
        who = "prediction" if is_gold.any() else "gold label"
        _undefined("F1", f"no {who} is {positive!r}", 0.0)
    return scores_of_counts(
        int(np.sum(is_gold & is_predicted)), int(is_predicted.sum()), int(is_gold.sum())
    )


def macro_f1(
    gold: npt.ArrayLike, predicted: npt.ArrayLike, labels: Sequence[Any] | None = None
) -> float:
    """Mean over labels of each one's F1, in percent.

    Args:
      gold, predicted: labels [n].
      labels: those to average over; by default all that occur on either side.
    """
    return _mean_f1(*_label_counts(gold, predicted, labels))


def multilabel_scores(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> dict[str, float]:
    """Scores of examples that have any number of labels.

    Args:
      gold, predicted: [n, labels], true (or 1) where the label holds.

    Returns:
      "micro_f1", "macro_f1" and "exact_match" (all labels of an example right), in percent.
    """
    gold, predicted = (np.asarray(a, dtype=bool) for a in (gold, predicted))
    if gold.shape != predicted.shape or gold.ndim != 2:
        raise ValueError(f"gold {gold.shape} and predicted {predicted.shape} must be [n, labels]")
    counts = (gold & predicted).sum(0), predicted.sum(0), gold.sum(0)
    return {
        "micro_f1": scores_of_counts(*(int(n.sum()) for n in counts)).f1,
        "macro_f1": _mean_f1(*counts),
        "exact_match": accuracy(np.ones(len(gold), bool), (gold == predicted).all(1)),
    }


def pearson_correlation(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Pearson's r in percent, NaN where a side is constant (as scipy); both [n] numbers."""
    return _correlation("Pearson", *_numbers(gold, predicted))


def spearman_correlation(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Spearman's rho in percent (ties get their mean rank), NaN where a side is constant (as
    scipy); both [n] numbers."""
    from scipy.stats import rankdata  # half a second to import

    gold, predicted = _numbers(gold, predicted)
    return _correlation("Spearman", rankdata(gold), rankdata(predicted))


def mean_squared_error(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean of the squared differences, in the square of the targets' unit; both [n] numbers."""
    gold, predicted = _numbers(gold, predicted)
    if not gold.size:
        return _undefined("mean squared error", "there are no examples", float("nan"))
    return float(np.mean((gold - predicted) ** 2))


def confusion_matrix(
    gold: npt.ArrayLike, predicted: npt.ArrayLike, labels: Sequence[Any] | None = None
) -> np.ndarray:
    """How often each gold label (row) was predicted as each label (column): int64 [labels, labels].

    Args:
      gold, predicted: labels [n].
      labels: order of rows and columns; by default all that occur, sorted.

    Raises:
      ValueError: a label that `labels` lacks.
    """
    gold, predicted = _paired(gold, predicted)
    known = np.unique(np.concatenate([gold, predicted])) if labels is None else np.asarray(labels)
    index = {label: i for i, label in enumerate(known.tolist())}
    matrix = np.zeros((len(index), len(index)), np.int64)
    try:
        for row, column in zip(gold.tolist(), predicted.tolist()):
            matrix[index[row], index[column]] += 1
    except KeyError as error:
        raise ValueError(f"label {error} is not among {list(index)}") from None
    return matrix


def token_accuracy(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Percent of words tagged right, over all sentences (part-of-speech tagging).

    Args:
      gold, predicted: tags of each sentence, equally many on both sides.
    """
    _check_sentences(gold, predicted)
    return accuracy(
        [tag for tags in gold for tag in tags], [tag for tags in predicted for tag in tags]
    )


def entity_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, Scores]:
    """Scores of whole spans: correct with the same type, first and last word (CoNLL-2000, 2003).

    Equals conlleval and seqeval's default mode on BIO, IOB1 and BIOES; of BILOU and BMES, whose
    letters L, U and M that mode does not know, the spans are those of the scheme.

    Args:
      gold, predicted: tags of each sentence, equally many on both sides. A word without a
        prediction counts as "O" in `predicted`; gold tags are complete.

    Returns:
      Scores by type, sorted, after those of all types together under "overall".
    """
    _check_sentences(gold, predicted)

    correct: Counter[str] = Counter()
    in_gold: Counter[str] = Counter()
    in_predicted: Counter[str] = Counter()
    for gold_tags, predicted_tags in zip(gold, predicted):
        gold_spans, found_spans = set(find_spans(gold_tags)), set(find_spans(predicted_tags))
        correct.update(span.type for span in gold_spans & found_spans)
        in_gold.update(span.type for span in gold_spans)
        in_predicted.update(span.type for span in found_spans)
    if not (in_gold and in_predicted):
        side = "gold tags" if not in_gold else "predictions"
        _undefined("span F1", f"the {side} hold no span", 0.0)
    by_type = {
        kind: scores_of_counts(correct[kind], in_predicted[kind], in_gold[kind])
        for kind in sorted(in_gold.keys() | in_predicted.keys())
    }
    overall = scores_of_counts(correct.total(), in_predicted.total(), in_gold.total())
    return {"overall": overall, **by_type}


def directed_relation_scores(
    gold: Sequence[str], predicted: Sequence[str], other: str = OTHER
) -> dict[str, Scores]:
    """SemEval-2010 Task 8's official score: (9+1)-way with direction, `other` left out of the mean.

    A relation's two directions are one class; the right relation in the wrong direction is wrong
    in precision and in recall.

    Args:
      gold, predicted: "Cause-Effect(e1,e2)" and the like [n].

    Returns:
      Scores by relation, sorted, after the official mean of relations in `gold` under "macro"
      (its F1 is the mean of F1s) and that of the summed counts under "micro".
    """
    gold, predicted = list(gold), list(predicted)
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold labels, {len(predicted)} predictions")
    correct = Counter(_relation(g) for g, p in zip(gold, predicted) if g == p)
    in_predicted = Counter(map(_relation, predicted))
    in_gold = Counter(map(_relation, gold))
    by_relation = {
        name: scores_of_counts(correct[name], in_predicted[name], in_gold[name])
        for name in sorted(in_gold)
    }
    counted = [name for name in by_relation if name != other]
    if not counted:
        _undefined("macro-F1", f"all gold labels are {other}", 0.0)
    mean = [
        float(np.mean([by_relation[name][i] for name in counted])) if counted else 0.0
        for i in range(3)
    ]
    sums = [sum(count[name] for name in counted) for count in (correct, in_predicted, in_gold)]
    return {
        "macro": Scores(mean[0], mean[1], mean[2], sums[2]),
        "micro": scores_of_counts(*sums),
        **by_relation,
    }


def rank_of(scores: npt.ArrayLike, right: int) -> int:
    """The place, from 1, of the right candidate when the best score comes first.

    Equal scores rank before it: a model that scores all alike must not win.

    Args:
      scores: of each candidate [n]; NaN counts as best for the others, worst for the right one.
      right: index of the right candidate.
    """
    scores = np.asarray(scores, np.float64)
    return len(scores) - int(np.sum(scores < scores[right]))


def recall_at(k: int, ranks: Sequence[int]) -> float:
    """R@k: percent of `rank_of`s that are k or better."""
    if not len(ranks):
        return _undefined(f"R@{k}", "there are no examples", 0.0)
    return 100 * float(np.mean(np.asarray(ranks) <= k))


def mean_reciprocal_rank(ranks: Sequence[int]) -> float:
    """MRR in percent: mean of 1 / rank over the `rank_of`s."""
    if not len(ranks):
        return _undefined("MRR", "there are no examples", 0.0)
    return 100 * float(np.mean(1 / np.asarray(ranks, np.float64)))


def _undefined(metric: str, reason: str, value: float) -> float:
    log.warning(
        "%s is undefined: %s; %s is reported, as official scripts do", metric, reason, value
    )
    return value


def _paired(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    gold, predicted = np.asarray(gold), np.asarray(predicted)
    if gold.shape != predicted.shape or gold.ndim != 1:
        raise ValueError(f"gold {gold.shape} and predicted {predicted.shape} must both be [n]")
    return gold, predicted


def _numbers(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    gold, predicted = _paired(gold, predicted)
    return gold.astype(np.float64), predicted.astype(np.float64)


def _correlation(name: str, gold: np.ndarray, predicted: np.ndarray) -> float:
    name = f"{name} correlation"
    if len(gold) < 2:
        return _undefined(name, f"{len(gold)} examples are too few", float("nan"))
    for side, values in (("gold values", gold), ("predictions", predicted)):
        if np.all(values == values[0]):
            return _undefined(name, f"all {side} are the same", float("nan"))
    gold, predicted = gold - gold.mean(), predicted - predicted.mean()
    norms = np.linalg.norm(gold) * np.linalg.norm(predicted)
    return 100 * float(np.clip(gold @ predicted / norms, -1, 1))


def _label_counts(
    gold: npt.ArrayLike, predicted: npt.ArrayLike, labels: Sequence[Any] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correct, predicted and gold of each label."""
    gold, predicted = _paired(gold, predicted)
    known = np.unique(np.concatenate([gold, predicted])) if labels is None else labels
    sides: tuple[Callable[[Any], int], ...] = (
        lambda label: int(np.sum((gold == label) & (predicted == label))),
        lambda label: int(np.sum(predicted == label)),
        lambda label: int(np.sum(gold == label)),
    )
    correct, in_predicted, in_gold = (
        np.array([count(label) for label in known], np.int64) for count in sides
    )
    return correct, in_predicted, in_gold


def _mean_f1(correct: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> float:
    if not len(gold):
        return _undefined("macro-F1", "there are no labels", 0.0)
    empty = int(np.sum((gold == 0) & (predicted == 0)))
    if empty:
        _undefined("F1", f"{empty} of {len(gold)} labels never occur", 0.0)
    each = zip(correct.tolist(), predicted.tolist(), gold.tolist())
    return float(np.mean([scores_of_counts(*counts).f1 for counts in each]))


def _check_sentences(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> None:
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold sentences, {len(predicted)} predicted")
    for i, (gold_tags, predicted_tags) in enumerate(zip(gold, predicted)):
        if len(gold_tags) != len(predicted_tags):
            raise ValueError(
                f"sentence {i} has {len(gold_tags)} gold tags and {len(predicted_tags)} predicted"
            )


def _relation(label: str) -> str:
    return label.partition("(")[0]
