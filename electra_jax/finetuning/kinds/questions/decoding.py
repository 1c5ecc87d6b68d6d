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
    """Characters [start, end) of the context and their scores."""

    text: str
    start: int | None
    end: int | None
    start_logit: float
    end_logit: float
    probability: float = 0.0


def candidates(
    features: Sequence[Feature], outputs: Sequence[Outputs], n_best: int, max_answer_length: int
) -> list[Candidate]:
    """All spans that the head proposes and that are possible answers, best first.

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
        # Positions beyond a short window are clipped to its last, [SEP], which is never inside.
        at_start, at_end = (np.minimum(positions, length - 1) for positions in (starts, ends))
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


def detokenized(word_pieces: Sequence[str]) -> str:
    """Word pieces joined to words with single spaces, as in the reference."""
    return " ".join(" ".join(word_pieces).replace(" ##", "").replace("##", "").split())


def project(words: str, original: str, do_lower_case: bool) -> tuple[int, int]:
    """The characters [start, end) of `original` that tokenized `words` stand for; all characters
    where the words cannot be aligned.

    As in the reference (and BERT's `get_final_text`): the first occurrence of the words in the
    basic tokens of the original, mapped back by counting characters that are not spaces. Alignment
    fails where normalisation changed their number; of several occurrences the first is taken.

    Args:
      words: the result of `detokenized`.
      original: the words of the text that they came from, with single spaces.
      do_lower_case: as the tokenizer's; lower-casing also strips accents.
    """
    unaligned = 0, len(original)
    basic = _basic_tokens(original, do_lower_case)
    start = basic.find(words)
    if start < 0 or not words:
        return unaligned
    dense_of_basic = [i for i, character in enumerate(basic) if character != " "]
    dense_of_original = [i for i, character in enumerate(original) if character != " "]
    if len(dense_of_basic) != len(dense_of_original):
        return unaligned
    aligned = dict(zip(dense_of_basic, dense_of_original))
    end = start + len(words) - 1
    if start not in aligned or end not in aligned:
        return unaligned
    return aligned[start], aligned[end] + 1


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
