"""Classification: one label a text or pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from electra_jax.finetuning.chance import (
    ENOUGH,
    LEAST_SURE,
    SURE,
    above_chance,
    association,
    compare_means,
    entropy_of,
    no_better_than_chance,
)
from electra_jax.finetuning.confusions import confusions
from electra_jax.finetuning.data.encoding import softmax
from electra_jax.finetuning.data.examples import Codec, Example, Feature, TextExample
from electra_jax.finetuning.data.records import Record
from electra_jax.finetuning.data.sources import Source, label_of, texts_of
from electra_jax.finetuning.kinds.base import Block, Mistake, Predictions
from electra_jax.finetuning.kinds.labels import OneRight, labels_in, natural_order
from electra_jax.finetuning.kinds.text import TextCodec, TextKind, shown_texts
from electra_jax.finetuning.metrics import classification as metrics
from electra_jax.finetuning.metrics.per_class import ClassScores, class_scores
from electra_jax.finetuning.task import Task
from electra_jax.modeling.heads.reference import CLASSIFICATION

_LEAST_RECALL = 0.05  # above chance, mean over labels
_STRAY = 4  # fewer answers beside the commonest are none: all right, their z-score is below 2
_COMMON = 0.8  # share of the commonest label above which the loss hardly shows the others


class ClassificationCodec(TextCodec):
    """One label a text or pair: "label" int32. Outputs: "logits" [labels]."""

    def _target(self, example: TextExample) -> Feature:
        return {"label": np.int32(self._id(example, example.label))}

    def decode(
        self,
        example: TextExample,
        features: Sequence[Feature],
        outputs: Sequence[Mapping[str, np.ndarray]],
    ) -> dict[str, Any]:
        """{"id", "label", "probabilities": {label: probability}}."""
        probabilities = softmax(outputs[0]["logits"])
        return {
            "id": example.id,
            "label": self.labels[int(np.argmax(probabilities))],
            "probabilities": dict(zip(self.labels, probabilities.tolist())),
        }

    def score(self, examples: Sequence[TextExample], predictions: Predictions) -> dict[str, float]:
        """The task's metrics, in percent."""
        gold = [str(example.label) for example in examples]
        predicted = [prediction["label"] for prediction in predictions]
        return {n: _METRICS[n](gold, predicted, self.task) for n in self.task.metrics}


class Classification(OneRight, TextKind):
    """One label a text or pair."""

    name = "classification"
    codec_class = ClassificationCodec
    metrics = ("accuracy", "macro_f1")
    roles: ClassVar = {
        "label": ("label", "gold_label", "Quality", "is_duplicate", "intent", "category", "class")
    }
    reference = CLASSIFICATION
    problem_type = "single_label_classification"
    answer = "label"

    def example(self, source: Source, where: str, identity: str, record: Record) -> Example:
        """The texts and the label's name."""
        texts = texts_of(source, where, record)
        return TextExample(where, identity, texts, label_of(source, where, record))

    def labels_of(self, example: TextExample) -> Sequence[str]:
        """The label, where there is one."""
        return (example.label,) if isinstance(example.label, str) else ()

    def labels(self, task: Task, examples: Iterable[Any]) -> tuple[str, ...]:
        """All that occur, at least two."""
        return natural_order(labels_in(examples, self.labels_of))

    def constant_loss(
        self, examples: Sequence[TextExample], target_range: tuple[float, float]
    ) -> float | None:
        """The entropy of the labels."""
        return entropy_of(e.label for e in examples)

    def better_than_chance(
        self, examples: Sequence[TextExample], predictions: Predictions, scores: Mapping[str, float]
    ) -> bool:
        """Far above chance and, where no label has most of the examples, right on half of those
        that a constant answer gets wrong: a run that collapsed to a constant may have kept an early
        step that is only just above chance."""
        gold = [[e.label] for e in examples]
        predicted = [[p["label"]] for p in predictions]
        if above_chance(gold, predicted) < SURE or association(gold, predicted) < LEAST_SURE:
            return False
        share = Counter(e.label for e in examples).most_common(1)[0][1] / len(examples)
        right = float(np.mean([a == b for a, b in zip(gold, predicted, strict=True)]))
        return share >= _COMMON or right >= (1 + share) / 2

    def not_learned(
        self,
        examples: Sequence[TextExample],
        predictions: Predictions,
        scores: Mapping[str, float],
        learnt: bool | None,
    ) -> str | None:
        """One answer to all, or no more right than always the commonest label: fewer, with labels
        recalled no more often than by chance, or as many within the sampling error, with answers
        that are not associated with the labels."""
        gold = [e.label for e in examples]
        predicted = [p["label"] for p in predictions]
        if len(set(predicted)) == 1 and len(set(gold)) > 1:
            return f'it answers "{predicted[0]}" to all {len(predicted)} evaluation examples'
        counts = Counter(gold)
        hits = Counter(a for a, b in zip(gold, predicted, strict=True) if a == b)
        label, most = counts.most_common(1)[0]
        recall = float(np.mean([hits[name] / count for name, count in counts.items()]))
        # Fewer right than the commonest label alone is no failure: class weights cost accuracy.
        if hits.total() < most and recall < 1 / len(counts) + _LEAST_RECALL:
            return (
                f"{hits.total()} of {len(gold)} evaluation examples are right, where always "
                f'"{label}" has {most}, and a label is found as often as by chance ({recall:.0%})'
            )
        compared = compare_means(
            [a == b for a, b in zip(gold, predicted, strict=True)], [a == label for a in gold]
        )
        z = association([[x] for x in gold], [[x] for x in predicted])
        others = len(predicted) - Counter(predicted).most_common(1)[0][1]
        stray = others < _STRAY and len(gold) >= ENOUGH and z < LEAST_SURE
        chance = stray or no_better_than_chance(z, len(gold))
        if len(counts) > 1 and not compared.beaten and chance:
            return (
                f"{hits.total()} of {len(gold)} evaluation examples are right, where always "
                f'"{label}" has {most}: no more than by chance'
            )
        return None

    def errors(
        self, examples: Sequence[TextExample], predictions: Predictions, labels: Sequence[str]
    ) -> list[Block]:
        """The confusion matrix of the labels."""
        pairs = [(str(e.label), p["label"]) for e, p in zip(examples, predictions, strict=True)]
        return confusions(pairs, labels)

    def class_scores(
        self, codec: Codec, examples: Sequence[TextExample], predictions: Predictions
    ) -> ClassScores:
        """Of each label."""
        gold = [{(e.label,)} for e in examples]
        return class_scores(gold, [{(p["label"],)} for p in predictions], codec.labels)

    def mistake(self, example: TextExample, answer: Mapping[str, Any]) -> Mistake | None:
        """The surer the wrong answer, the worse."""
        if answer["label"] == example.label:
            return None
        label = answer["label"]
        surest = answer.get("probabilities", {}).get(label, 1.0)
        return Mistake(surest, shown_texts(example), str(example.label), f"{label} ({surest:.0%})")


_METRICS: dict[str, Callable[[list[str], list[str], Task], float]] = {
    "accuracy": lambda gold, predicted, _: metrics.accuracy(gold, predicted),
    "matthews": lambda gold, predicted, _: metrics.matthews_correlation(gold, predicted),
    "f1": lambda gold, predicted, task: metrics.binary_f1(gold, predicted, task.positive).f1,
    "macro_f1": lambda gold, predicted, _: metrics.macro_f1(gold, predicted),
    "directed_f1": lambda gold, predicted, _: (
        metrics.directed_relation_scores(gold, predicted)["macro"].f1
    ),
}
