"""Taggings of a run beside those that give every word one tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.finetuning.chance import (
    Comparison,
    association,
    compare_f1,
    compare_shares,
)
from electra_jax.finetuning.data.examples import TaggedExample
from electra_jax.finetuning.data.values import Missing
from electra_jax.finetuning.metrics.spans import OUTSIDE, Span, find_spans, is_span_tag

_MOST_TAGS = 20  # the commonest of them are tried as constant answers


def marks_spans(examples: Sequence[TaggedExample], scores: Mapping[str, float]) -> bool:
    """Whether spans are scored: what the scores say, else what the gold tags look like."""
    if scores:
        return "f1" in scores
    return all(is_span_tag(tag) for e in examples for tag in e.tags or () if _is_there(tag))


def compare_spans(
    examples: Sequence[TaggedExample], predictions: Sequence[Mapping[str, Any]]
) -> Comparison | None:
    """F1 of spans, against no span at all and against one tag for all words, whichever is best;
    None where the gold tags have no span."""
    pairs = _pairs(examples, predictions)
    gold = [set(find_spans(tags)) for tags, _ in pairs]
    if not any(gold):
        return None
    lengths = [len(tags) for tags, _ in pairs]
    found = [set(find_spans([tag or OUTSIDE for tag in tags])) for _, tags in pairs]
    constants = [_counts(gold, [set() for _ in gold])]
    for tag in _commonest(pairs):
        constants.append(_counts(gold, _everywhere(tag, lengths)))
    best = max(constants, key=_f1)
    return compare_f1(_counts(gold, found), best)


def compare_tags(
    examples: Sequence[TaggedExample], predictions: Sequence[Mapping[str, Any]]
) -> Comparison:
    """Accuracy of words, against the commonest tag for all of them."""
    pairs = _pairs(examples, predictions)
    (commonest, _) = Counter(tag for gold, _ in pairs for tag in gold).most_common(1)[0]
    return compare_shares(
        [sum(a == b for a, b in zip(*pair, strict=True)) for pair in pairs],
        [gold.count(commonest) for gold, _ in pairs],
        [len(gold) for gold, _ in pairs],
    )


def associated(
    examples: Sequence[TaggedExample], predictions: Sequence[Mapping[str, Any]]
) -> float:
    """z-score of the association of gold and predicted tags, over sentences."""
    words = [
        (number, gold, found)
        for number, pair in enumerate(_pairs(examples, predictions))
        for gold, found in zip(*pair, strict=True)
    ]
    numbers, gold, found = zip(*words, strict=True)
    return association([(x,) for x in gold], [(x,) for x in found], numbers)


def _pairs(
    examples: Sequence[TaggedExample], predictions: Sequence[Mapping[str, Any]]
) -> list[tuple[list[str], list[str | None]]]:
    """Gold and predicted tags of each sentence's words that have a gold tag."""
    pairs = []
    for example, prediction in zip(examples, predictions, strict=True):
        words = zip(example.tags or (), prediction["tags"], strict=True)
        kept = [(gold, found) for gold, found in words if _is_there(gold)]
        pairs.append(([gold for gold, _ in kept], [found for _, found in kept]))
    return pairs


def _is_there(tag: str) -> bool:
    return not isinstance(tag, Missing)


def _commonest(pairs: Sequence[tuple[list[str], list[str | None]]]) -> list[str]:
    counts = Counter(tag for gold, _ in pairs for tag in gold if tag != OUTSIDE)
    return [tag for tag, _ in counts.most_common(_MOST_TAGS)]


def _everywhere(tag: str, lengths: Sequence[int]) -> list[set[Span]]:
    """The spans of sentences in which every word has one tag."""
    by_length = {n: set(find_spans([tag] * n)) for n in set(lengths)}
    return [by_length[n] for n in lengths]


def _counts(gold: Sequence[set[Span]], found: Sequence[set[Span]]) -> np.ndarray:
    """[sentences, 3]: spans that are correct, predicted and gold."""
    return np.array([(len(a & b), len(b), len(a)) for a, b in zip(gold, found, strict=True)])


def _f1(counts: np.ndarray) -> float:
    correct, predicted, gold = counts.sum(0)
    return float(2 * correct / (predicted + gold)) if predicted + gold else 0.0
