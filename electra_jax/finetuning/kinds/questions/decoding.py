"""From a head's outputs for the windows of a question to its n best answers."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tokenizers import normalizers, pre_tokenizers

from electra_jax.finetuning.data.examples import Feature

Outputs = Mapping[str, np.ndarray]


class Candidate(NamedTuple):
    """Tokens start to end (inclusive) of a window, with the head's float32 scores of both."""

    window: int
    start: int
    end: int
    start_score: np.float32
    end_score: np.float32


@dataclasses.dataclass
class Answer:
    """Characters [start, end) of the context and how they scored."""

    text: str
    start: int | None
    end: int | None
    start_logit: float
    end_logit: float
    probability: float = 0.0


def candidates(
    features: Sequence[Feature], outputs: Sequence[Outputs], n_best: int, max_answer_length: int
) -> list[Candidate]:
    """All spans that the head proposes and that can be answers, best first.

    An answer lies in the context, starts where its token has its best context, and is no longer
    than `max_answer_length` tokens. Equal scores keep the order of windows and of the head.

    Args:
      features: of one question, with "host".
      outputs: one for each feature. A beam: "start_top_log_probs" [K], "start_top_index" [K],
        "end_top_log_probs" [K, K] and "end_top_index" [K, K] (row: start). Otherwise
        "start_logits" and "end_logits" [n], of which the n best each are combined.
      n_best: of starts and of ends.
    """
    found: list[Candidate] = []
    for window, (feature, output) in enumerate(zip(features, outputs)):
        starts, ends, start_scores, end_scores = _proposals(output, n_best)
        inside = feature["host"]["words"] >= 0
        best = feature["host"]["max_context"]
        length = len(inside)
        # Out of a short window's range: a place that is never inside.
        at_start, at_end = (np.minimum(places, length - 1) for places in (starts, ends))
        allowed = (
            (starts < length)
            & (ends < length)
            & inside[at_start]
            & inside[at_end]
            & best[at_start]
            & (ends >= starts)
            & (ends - starts < max_answer_length)
        )
        found.extend(
            Candidate(window, int(starts[i]), int(ends[i]), start_scores[i], end_scores[i])
            for i in np.flatnonzero(allowed)
        )
    return sorted(found, key=lambda c: c.start_score + c.end_score, reverse=True)


def _proposals(output: Outputs, n_best: int) -> tuple[np.ndarray, ...]:
    """Starts, ends and their scores, each [proposals], in the head's order."""
    if "start_top_index" in output:
        ends = np.asarray(output["end_top_index"])
        starts = np.repeat(np.asarray(output["start_top_index"]), ends.shape[1])
        start_scores = np.repeat(output["start_top_log_probs"], ends.shape[1])
        return starts, ends.ravel(), start_scores, np.ravel(output["end_top_log_probs"])
    start_logits, end_logits = np.asarray(output["start_logits"]), np.asarray(output["end_logits"])
    best_starts, best_ends = (
        np.argsort(-logits, kind="stable")[:n_best] for logits in (start_logits, end_logits)
    )
    starts = np.repeat(best_starts, len(best_ends))
    ends = np.tile(best_ends, len(best_starts))
    return starts, ends, start_logits[starts], end_logits[ends]


def distinct_answers(
    found: Iterable[Candidate],
    locate: Callable[[Candidate], tuple[str, int, int]],
    n_best: int,
) -> list[Answer]:
    """The first `n_best` candidates of different texts.

    Args:
      found: best first.
      locate: (text, start, end) of a candidate in the context.
    """
    answers: dict[str, Answer] = {}
    for candidate in found:
        if len(answers) == n_best:
            break
        text, start, end = locate(candidate)
        if text not in answers:
            answers[text] = Answer(
                text, start, end, float(candidate.start_score), float(candidate.end_score)
            )
    return list(answers.values())


def softmax(scores: Sequence[float]) -> list[float]:
    """Probabilities that are proportional to exp(score)."""
    top = max(scores, default=0.0)
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def detokenized(pieces: Sequence[str]) -> str:
    """WordPieces as words with one space between them, as the reference joins them."""
    return " ".join(" ".join(pieces).replace(" ##", "").replace("##", "").split())


def project(words: str, original: str, do_lower_case: bool) -> tuple[int, int]:
    """The characters [start, end) of `original` that tokenized `words` stand for: all of them
    where that cannot be told.

    This is the reference's way (and BERT's): the first place at which the words occur in the
    basic tokens of the original, found again by counting characters that are not spaces. It gives
    up where normalisation changed their number, and takes the first of several equal places.

    Args:
      words: `detokenized` pieces.
      original: the words of the text that they came from, with single spaces.
      do_lower_case: as the tokenizer; accents go where case goes.
    """
    everything = 0, len(original)
    basic = _basic_tokens(original, do_lower_case)
    start = basic.find(words)
    if start < 0 or not words:
        return everything
    dense_of_basic = [i for i, character in enumerate(basic) if character != " "]
    dense_of_original = [i for i, character in enumerate(original) if character != " "]
    if len(dense_of_basic) != len(dense_of_original):
        return everything
    place = dict(zip(dense_of_basic, dense_of_original))
    end = start + len(words) - 1
    if start not in place or end not in place:
        return everything
    return place[start], place[end] + 1


def _basic_tokens(text: str, do_lower_case: bool) -> str:
    """BERT's words and punctuation marks of a text, with single spaces."""
    normalized = _normalizer(do_lower_case).normalize_str(text)
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normalized)
    return " ".join(word for word, _ in split)


@functools.cache
def _normalizer(do_lower_case: bool) -> normalizers.BertNormalizer:
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=do_lower_case,
        lowercase=do_lower_case,
    )
