"""F1 of answers beside that of as long spans elsewhere in the same contexts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.finetuning.chance import Comparison, compare_means
from electra_jax.finetuning.data.examples import QuestionExample
from electra_jax.finetuning.data.words import is_wide
from electra_jax.finetuning.metrics.squad import cmrc_f1, squad_v1_f1

MOST_QUESTIONS = 1000  # compared; of more, every n-th
_SPANS = 4  # random ones a question
_SEED = 0


def compare_answers(
    examples: Sequence[QuestionExample], predictions: Sequence[Mapping[str, Any]]
) -> Comparison | None:
    """Word F1 (Chinese: CMRC's) of the questions that have an answer, against spans of as many
    words as the predicted answer's: at random places, or at the beginning of the context where that
    is better. None where there is nothing to compare."""
    pairs = [
        (e, p["prediction_text"])
        for e, p in zip(examples, predictions, strict=True)
        if e.answers and e.context.strip()
    ]
    pairs = pairs[:: -(-len(pairs) // MOST_QUESTIONS) or 1]
    if not pairs:
        return None
    generator = np.random.default_rng(_SEED)
    run, random, first = np.zeros((3, len(pairs)))
    for i, (example, text) in enumerate(pairs):
        spans = _words(example.context)
        size = min(len(_words(text)), len(spans))
        run[i] = _f1(example, text)
        if not size:
            continue
        starts = generator.integers(0, len(spans) - size + 1, _SPANS).tolist()
        found = {s: _f1(example, _part(example, spans, s, size)) for s in {0, *starts}}
        random[i], first[i] = np.mean([found[s] for s in starts]), found[0]
    better = compare_means(first, random).beaten
    return compare_means(run, first if better else random)


def _words(text: str) -> list[tuple[int, int]]:
    """[start, end) of words, and of Chinese and Japanese characters."""
    return [
        span
        for match in re.finditer(r"\S+", text)
        for span in _characters(match.group(), match.start())
    ]


def _characters(word: str, start: int) -> list[tuple[int, int]]:
    if not any(map(is_wide, word)):
        return [(start, start + len(word))]
    return [(start + i, start + i + 1) for i in range(len(word))]


def _part(example: QuestionExample, spans: Sequence[tuple[int, int]], first: int, size: int) -> str:
    return example.context[spans[first][0] : spans[first + size - 1][1]]


def _f1(example: QuestionExample, text: str) -> float:
    golds = [answer for answer, _ in example.answers]
    compare = cmrc_f1 if any(map(is_wide, golds[0])) else squad_v1_f1
    return max(compare(gold, text) for gold in golds)
