"""Extractive question answering. Its files, windows, codec and decoding are in `questions/`, its
scores in `metrics/squad.py`."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from electra_jax.config.finetuning import LossSettings
from electra_jax.finetuning.chance import Comparison
from electra_jax.finetuning.data.examples import (
    Codec,
    CodecSettings,
    Example,
    Feature,
    QuestionExample,
)
from electra_jax.finetuning.data.records import Record
from electra_jax.finetuning.data.sources import Source, check_roles
from electra_jax.finetuning.kinds.base import (
    Batch,
    Block,
    FeatureOutputs,
    HuggingFaceKind,
    Mistake,
    Outputs,
    Predictions,
)
from electra_jax.finetuning.kinds.questions.baseline import compare_answers
from electra_jax.finetuning.kinds.questions.codec import QuestionCodec, check_answers
from electra_jax.finetuning.kinds.questions.files import question_of, read_questions
from electra_jax.finetuning.losses import (
    binary_cross_entropy,
    categorical_divergence,
    cross_entropy,
)
from electra_jax.finetuning.metrics.squad import cmrc_f1, squad_v2_f1
from electra_jax.finetuning.task import Task
from electra_jax.modeling.heads.huggingface import QUESTION
from electra_jax.modeling.heads.reference import QUESTIONS
from electra_jax.text.tokenizers.tokenizer import Tokenizer

log = logging.getLogger(__name__)

FAR = -1e9  # the logit of a position where an answer can neither begin nor end
_ENDS = ("start_logits", "end_logits")


class QuestionAnswering(HuggingFaceKind):
    """The first and last token of an answer: "start_logits" and "end_logits" [B, L], `FAR` where no
    answer can be; the reference's head also gives beams and answerability."""

    name = "question_answering"
    metrics = ("f1",)
    max_length = 512
    epochs = 2.0
    roles: ClassVar = {"question": ("question",), "context": ("context",), "answers": ("answers",)}
    huggingface = QUESTION
    reference = QUESTIONS
    has_columns = False
    answer = "prediction_text"

    def read(
        self,
        task: Task,
        path: str,
        columns: Mapping[str, str],
        labelled: bool = True,
        labels: Collection[str] | None = None,
        usual: Mapping[str, str] | None = None,
        lenient: bool = False,
    ) -> Iterator[Example]:
        """A record may be an article, a paragraph or a question: see `questions/files.py`."""
        check_roles(task, columns)
        return read_questions(path, labelled, columns, lenient)

    def example(self, source: Source, where: str, identity: str, record: Record) -> Example:
        """One question to answer."""
        return dataclasses.replace(question_of(record, where, 0, source.columns), id=identity)

    def input(
        self,
        task: Task,
        value: Any,
        where: str,
        number: int,
        columns: Mapping[str, str],
        usual: Mapping[str, str],
    ) -> Example:
        """A mapping with question and context."""
        if not isinstance(value, Mapping):
            raise TypeError("a mapping is needed")
        return question_of(dict(value), where, number, columns)

    def codec(
        self,
        task: Task,
        tokenizer: Tokenizer,
        settings: CodecSettings,
        labels: tuple[str, ...],
        head: str,
    ) -> Codec:
        """`QuestionCodec`."""
        return QuestionCodec(tokenizer, settings, task.questions, head)

    def check_examples(self, task: Task, path: str, examples: Iterable[Any]) -> int:
        """Warns of questions without an answer where the task gives an answer to each."""
        unanswerable = 0

        def each() -> Iterator[QuestionExample]:
            nonlocal unanswerable
            for example in examples:
                unanswerable += example.is_impossible
                yield example

        count = super().check_examples(task, path, each())
        if unanswerable and task.questions != "v2":
            log.warning(
                "%s: %s of %s questions have no answer; %s does not train on them and scores any "
                "answer to them as wrong (question_answering and squad2 learn to give none)",
                path, f"{unanswerable:,}", f"{count:,}", task.name,
            )  # fmt: skip
        return count

    def prepare(
        self, task: Task, path: str, examples: list[Any], settings: CodecSettings
    ) -> tuple[list[Any], CodecSettings]:
        """The examples whose answers are at their offsets (`data.on_bad_answer` for the others)."""
        return check_answers(examples, settings), settings

    def without_texts(self, example: QuestionExample) -> QuestionExample:
        """The answers alone."""
        return dataclasses.replace(example, question="", context="")

    def for_scores(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Two of `n_best`, so that one has a text: at most one is empty."""
        return {**answer, "n_best": answer["n_best"][:2]}

    def outputs(self, found: Any, batch: Batch) -> Outputs:
        """The logits of both ends."""
        logits = jnp.where(batch["answer_mask"][..., None] > 0, found, FAR)
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}

    def cut(self, outputs: FeatureOutputs, feature: Feature) -> FeatureOutputs:
        """The logits without padding; beams have none."""
        length = len(feature["input_ids"])
        return {n: x[:length] if n in _ENDS else x for n, x in outputs.items()}

    def row_losses(self, outputs: Outputs, batch: Batch, settings: LossSettings) -> jax.Array:
        """The mean of both ends' cross entropies, plus the answerability's if there is one."""
        smoothing = settings.label_smoothing
        loss = 0.5 * (
            cross_entropy(outputs["start_logits"], batch["start_positions"], smoothing)
            + cross_entropy(outputs["end_logits"], batch["end_positions"], smoothing)
        )
        if "answerable_logit" in outputs:
            impossible = batch["is_impossible"].astype(jnp.float32)
            answerable = binary_cross_entropy(outputs["answerable_logit"], impossible)
            loss += settings.answerable_weight * answerable
        return loss

    def divergence(self, one: Outputs, other: Outputs) -> jax.Array:
        """The mean of both ends' divergences."""
        ends = (categorical_divergence(one[n], other[n]) for n in _ENDS)
        return 0.5 * sum(ends, jnp.zeros(()))

    def constant_loss(
        self, examples: Sequence[QuestionExample], target_range: tuple[float, float]
    ) -> float | None:
        """None: no position is a constant answer."""
        return None

    def better_than_chance(
        self,
        examples: Sequence[QuestionExample],
        predictions: Predictions,
        scores: Mapping[str, float],
    ) -> bool:
        """False: without a constant loss there is nothing to overrule."""
        return False

    def not_learned(
        self,
        examples: Sequence[QuestionExample],
        predictions: Predictions,
        scores: Mapping[str, float],
        learnt: bool | None,
    ) -> str | None:
        """No answer at all, or an F1 that is no better than without answers (SQuAD 2.0) or than
        that of as long spans elsewhere in the contexts."""
        unanswerable = sum(e.is_impossible for e in examples)
        if unanswerable == len(examples):
            return None
        if not any(p["prediction_text"] for p in predictions):
            return "it answers no question"
        if "best_f1" in scores:  # no answer can be right
            unanswered = 100.0 * unanswerable / len(examples)
            gain = scores["best_f1"] - unanswered
            # Of so many more that are right than without answers, the number is a Poisson's.
            error = (max(gain, 0.0) * 100.0 / len(examples)) ** 0.5
            if not Comparison(scores["best_f1"], unanswered, error, len(examples)).beaten:
                beside = f", where answering no question has {unanswered:.1f}"
                return f"its F1 is {scores['best_f1']:.1f}{beside if unanswered else ''}"
        found = compare_answers(examples, predictions)
        if found is None or "f1" not in scores or "best_f1" in scores:
            return None
        if not found._replace(score=scores["f1"]).beaten:
            beside = f"as long spans elsewhere in the texts have {found.constant:.1f}"
            return f"its F1 is {scores['f1']:.1f}, where {beside}"
        return None

    def errors(
        self, examples: Sequence[QuestionExample], predictions: Predictions, labels: Sequence[str]
    ) -> list[Block]:
        """None."""
        return []

    def mistake(self, example: QuestionExample, answer: Mapping[str, Any]) -> Mistake | None:
        """An answer without a word of the right ones."""
        golds = [text for text, _ in example.answers] or [""]
        found = answer["prediction_text"]
        f1 = max(max(squad_v2_f1(gold, found), cmrc_f1(gold, found)) for gold in golds)
        if f1 > 0:
            return None
        return Mistake(1.0, example.question, golds[0] or "no answer", found or "no answer")
