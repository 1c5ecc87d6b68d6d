"""Extractive question answering: questions to windows of tokens, a head's outputs to answers."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.config.finetuning import HEADS
from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import Codec, CodecSettings, Feature, QuestionExample
from electra_jax.finetuning.kinds.questions import decoding, windows
from electra_jax.finetuning.kinds.questions.decoding import Answer, Candidate
from electra_jax.finetuning.kinds.questions.windows import NO_WORD, Context
from electra_jax.finetuning.metrics import squad
from electra_jax.text.tokenizers.tokenizer import Tokenizer

log = logging.getLogger(__name__)

MODES = ("v1", "v2", "cmrc", "mrqa")
PROJECTIONS = ("offsets", "reference")

REFERENCE_NULL_THRESHOLD = -2.75
"""`qa_na_threshold` of the reference: null odds above it mean "no answer"."""


class QuestionCodec(Codec):
    """The codec of question answering; see `examples.Codec`.

    Every window is [CLS] question [SEP] part of the context [SEP]. `encode` gives, for each:
    "input_ids", "token_type_ids" (1 after the first [SEP]) and "answer_mask" (1 where an answer's
    ends may be: context, its [SEP], and [CLS]), int32 [n]; in training "start_positions" and
    "end_positions" (0, 0 where the window does not hold the answer) and "is_impossible" (of the
    question), int32 []; and under "host", never batched, "offsets" int32 [n, 2] (characters of
    the context), "words" int32 [n] (-1 outside the context) and "max_context" bool [n].
    """

    metric = "f1"

    def __init__(
        self,
        tokenizer: Tokenizer,
        settings: CodecSettings,
        mode: str = "v1",
        head: str = "huggingface",
        projection: str | None = None,
    ):
        """
        Args:
          tokenizer: of any kind.
          settings: its lengths are in tokens. A `doc_stride` of no less than what fits into a
            window leaves no overlap between windows.
          mode: whose rules and scores: "v2" (SQuAD 2.0) knows questions without an answer; "v1",
            "cmrc" (Chinese) and "mrqa" do not.
          head: whose outputs `decode` is given.
          projection: "offsets" gives exact substrings of the context and learns the tokens that
            share a character with the answer; "reference" does both as the reference does, word by
            word. By default the head's own, where the tokenizer is WordPiece and the mode not
            "cmrc": the reference takes a Chinese sentence for one word.

        Null odds above the settings' `null_threshold` mean "no answer" (mode "v2"); where it is
        None, above -2.75 with the reference's head, else 0.

        Raises:
          UserError: `max_length` leaves no room for context, or `doc_stride` is not positive.
        """
        for name, value, known in (("mode", mode, MODES), ("head", head, HEADS)):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}, known: {', '.join(known)}")
        if projection is None:
            own = tokenizer.kind == "wordpiece" and mode != "cmrc" and head == "reference"
            projection = "reference" if own else "offsets"
        if projection not in PROJECTIONS:
            raise ValueError(f"unknown projection {projection!r}, known: {', '.join(PROJECTIONS)}")
        if settings.max_length < settings.max_query_length + 4:
            raise UserError(
                f"data.max_length={settings.max_length} leaves no room for the context beside "
                f"data.max_query_length={settings.max_query_length} tokens of question and 3 "
                "special tokens; raise the first or lower the second"
            )
        if settings.doc_stride < 1:
            raise UserError(f"data.doc_stride={settings.doc_stride} must be 1 or more tokens")
        null_threshold = settings.null_threshold
        if null_threshold is None:
            null_threshold = REFERENCE_NULL_THRESHOLD if head == "reference" else 0.0
        self.tokenizer = tokenizer
        self.settings = settings
        self.mode = mode
        self.head = head
        self.projection = projection
        self.null_threshold = null_threshold
        self._latest: tuple[str, Context] | None = None

    def encode(self, example: QuestionExample, train: bool) -> list[Feature]:
        """One feature a window. In training none where the answer is not found in the context."""
        context = self._context(example.context)
        answer: tuple[int, int] | None = None
        if train and not self._is_impossible(example):
            answer = self._answer_tokens(example, context)
            if answer is None:
                return []
        special = self.tokenizer.special_ids
        question = self.tokenizer.encode(example.question)[: self.settings.max_query_length]
        room = self.settings.max_length - len(question) - 3
        tokens = len(context.ids)
        starts = windows.window_starts(tokens, room, self.settings.doc_stride)
        if not starts:
            return []
        best = windows.max_context(tokens, starts, room)
        before = len(question) + 2
        features = []
        for number, start in enumerate(starts):
            here = slice(start, min(start + room, tokens))
            ids = [special.cls, *question, special.sep, *context.ids[here].tolist(), special.sep]
            types = np.zeros(len(ids), np.int32)
            types[before:] = 1
            mask = types.copy()
            mask[0] = 1
            edges = (before, 1)
            feature: Feature = {
                "input_ids": np.asarray(ids, np.int32),
                "token_type_ids": types,
                "answer_mask": mask,
                "host": {
                    "offsets": np.pad(context.offsets[here], (edges, (0, 0))),
                    "words": np.pad(context.word_of_token[here], edges, constant_values=NO_WORD),
                    "max_context": np.pad(best[here] == number, edges),
                },
            }
            if train:
                first, last = 0, 0
                if answer is not None and here.start <= answer[0] and answer[1] < here.stop:
                    first, last = (token - start + before for token in answer)
                feature["start_positions"] = np.int32(first)
                feature["end_positions"] = np.int32(last)
                feature["is_impossible"] = np.int32(self._is_impossible(example))
            features.append(feature)
        return features

    def decode(
        self,
        example: QuestionExample,
        features: Sequence[Feature],
        outputs: Sequence[Mapping[str, np.ndarray]],
    ) -> dict[str, Any]:
        """The answer to a question.

        Args:
          example: the question.
          features: its windows, from `encode`.
          outputs: the head's, one a window. Hugging Face's: "start_logits" and "end_logits" [n].
            The reference's joint head: see `decoding.candidates`; its independent one:
            "start_logits" and "end_logits". The reference's may have "answerable_logit" [].

        Returns:
          "id"; "prediction_text" ("" for no answer); "start" and "end", characters of the context
          (None for no answer); "n_best", of which each has "text", "probability", "start", "end",
          "start_logit" and "end_logit"; "null_odds" (larger: surer that there is no answer) and
          "no_answer_probability", both None but in mode "v2".
        """
        found = decoding.candidates(
            features, outputs, self.settings.n_best, self.settings.max_answer_length
        )
        answers = decoding.distinct_answers(
            found, self._locator(example, features), self.settings.n_best
        )
        if not answers and self.projection == "reference":
            answers = [Answer("empty", None, None, 0.0, 0.0)]
        scores = [float(np.float32(a.start_logit) + np.float32(a.end_logit)) for a in answers]
        null_odds, null_probability = None, None
        probabilities = decoding.softmax(scores)
        if self.mode == "v2":
            null_odds, null_probability, with_null = _null(outputs, answers, scores)
            if self.head == "huggingface":
                probabilities = with_null
        for answer, probability in zip(answers, probabilities):
            answer.probability = probability
        chosen = next((answer for answer in answers if answer.text), None)
        if null_odds is not None and null_odds > self.null_threshold:
            chosen = None
        return {
            "id": example.id,
            "prediction_text": chosen.text if chosen else "",
            "start": chosen.start if chosen else None,
            "end": chosen.end if chosen else None,
            "n_best": [dataclasses.asdict(answer) for answer in answers],
            "null_odds": null_odds,
            "no_answer_probability": null_probability,
        }

    def score(
        self, examples: Sequence[QuestionExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """The mode's official scores of what `decode` gave; see `metrics.squad`."""
        if self.mode != "v2":
            scorer = {
                "v1": squad.squad_v1_scores,
                "cmrc": squad.cmrc_scores,
                "mrqa": squad.mrqa_scores,
            }[self.mode]
            return scorer(examples, [p["prediction_text"] for p in predictions])
        best = [
            next((answer["text"] for answer in p["n_best"] if answer["text"]), "")
            for p in predictions
        ]
        odds = [p["null_odds"] for p in predictions]
        return squad.squad_v2_scores(examples, best, odds, self.null_threshold)

    def _is_impossible(self, example: QuestionExample) -> bool:
        return self.mode == "v2" and example.is_impossible

    def _context(self, text: str) -> Context:
        # The questions about one context follow each other in every file.
        if self._latest is None or self._latest[0] != text:
            self._latest = text, windows.tokenize_context(self.tokenizer, text)
        return self._latest[1]

    def _answer_tokens(self, example: QuestionExample, context: Context) -> tuple[int, int] | None:
        answer = windows.training_answer(example)
        if answer is None or not can_be_learnt(example, self.projection):
            return None
        if self.projection == "offsets":
            return windows.answer_tokens(context, *answer)
        return windows.answer_tokens_as_the_reference(context, *answer, self.tokenizer)

    def _locator(self, example: QuestionExample, features: Sequence[Feature]):
        text = example.context

        def by_offsets(c: Candidate) -> tuple[str, int, int]:
            offsets = features[c.window]["host"]["offsets"]
            start, end = int(offsets[c.start, 0]), int(offsets[c.end, 1])
            return text[start:end], start, end

        def as_the_reference(c: Candidate) -> tuple[str, int, int]:
            feature = features[c.window]
            ids = feature["input_ids"][c.start : c.end + 1]
            words = feature["host"]["words"]
            original, offsets = self._context(text).words.joined(
                int(words[c.start]), int(words[c.end])
            )
            spoken = decoding.detokenized(self.tokenizer.ids_to_tokens(ids))
            first, last = decoding.project(spoken, original, self.tokenizer.do_lower_case)
            return original[first:last], offsets[first], offsets[last - 1] + 1

        return by_offsets if self.projection == "offsets" else as_the_reference


def can_be_learnt(example: QuestionExample, projection: str = "offsets") -> bool:
    """Whether the question has an answer at its offset, by the projection's rule (see
    `QuestionCodec`)."""
    if projection == "reference":
        return windows.answer_is_there_for_the_reference(example)
    return windows.answer_is_there(example)


def check_answers(
    examples: Iterable[QuestionExample], settings: CodecSettings, projection: str = "offsets"
) -> list[QuestionExample]:
    """The examples for training: those whose answer is at its offset, and those marked as
    unanswerable.

    Args:
      examples: all of a training file. Evaluation needs no check: it uses the answers' texts.
      settings: its `on_bad_answer` decides.
      projection: as the codec's.

    Raises:
      UserError: answers are not at their offsets, and `on_bad_answer` is not "skip": their number,
        and the first three. With "skip" they are left out and their number is logged.
    """
    good: list[QuestionExample] = []
    bad: list[QuestionExample] = []
    for example in examples:
        fine = example.is_impossible or can_be_learnt(example, projection)
        (good if fine else bad).append(example)
    if not bad:
        return good
    shown = "; ".join(map(_complaint, bad[:3])) + ("; …" if len(bad) > 3 else "")
    count = f"{len(bad)} of {len(good) + len(bad)} questions have no answer at the given offset"
    if settings.on_bad_answer != "skip":
        raise UserError(
            f"{count}: {shown}. Mend them, or leave them out of training with "
            "--config.data.on_bad_answer=skip"
        )
    log.warning("%s and are left out of training: %s", count, shown)
    return good


def _complaint(example: QuestionExample) -> str:
    answer = windows.training_answer(example)
    if answer is None:
        return f"{example.where} (question {example.id}): no answer"
    text, start = answer
    there = example.context[start : start + len(text)][:40]
    return f"{example.where} (question {example.id}): {text[:40]!r} at {start}, there is {there!r}"


def _null(
    outputs: Sequence[Mapping[str, np.ndarray]], answers: Sequence[Answer], scores: Sequence[float]
) -> tuple[float, float, list[float]]:
    """Null odds, probability of no answer, and probabilities of the answers beside "no answer".

    The odds are the answerability logit; without one, the score of the span [CLS] to [CLS] less
    that of the best answer. Of several windows the one with the lowest odds counts.
    """
    if any("answerable_logit" in output for output in outputs):
        odds = min(float(output["answerable_logit"]) for output in outputs)
        null = 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0
        return odds, null, [(1 - null) * p for p in decoding.softmax(scores)]
    nulls = [float(output["start_logits"][0] + output["end_logits"][0]) for output in outputs]
    score = np.float32(min(nulls, default=0.0))
    *each, null = decoding.softmax([*scores, float(score)])
    best = next((answer for answer in answers if answer.text), Answer("", None, None, 0.0, 0.0))
    # In float32 and in this order, as in the reference, whose thresholds are tuned on it.
    difference = score - np.float32(best.start_logit) - np.float32(best.end_logit)
    return float(difference), null, each
