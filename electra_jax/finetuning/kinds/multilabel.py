"""Any number of labels a text or pair."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from electra_jax.config.finetuning import LossSettings
from electra_jax.errors import UserError
from electra_jax.finetuning.chance import ENOUGH, LEAST_SURE, SURE, above_chance
from electra_jax.finetuning.data.examples import Codec, Example, Feature, TextExample
from electra_jax.finetuning.data.records import Record
from electra_jax.finetuning.data.sources import Source, label_name, texts_of
from electra_jax.finetuning.kinds.base import Batch, Block, Mistake, Outputs, Padding, Predictions
from electra_jax.finetuning.kinds.labels import labels_in, natural_order
from electra_jax.finetuning.kinds.text import TextCodec, TextKind, shown_texts
from electra_jax.finetuning.losses import binary_cross_entropy
from electra_jax.finetuning.metrics import classification as metrics
from electra_jax.finetuning.metrics.per_class import ClassScores, class_scores
from electra_jax.finetuning.task import Task


class MultilabelCodec(TextCodec):
    """Any number of labels a text: "labels" float32 [labels]. Outputs: "logits" [labels]."""

    def _target(self, example: TextExample) -> Feature:
        return {"labels": self._indicator(example, example.label).astype(np.float32)}

    def _indicator(self, example: TextExample, names: Any) -> npt.NDArray[np.bool_]:
        row = np.zeros(len(self.labels), bool)
        row[[self._id(example, name) for name in names]] = True
        return row

    def decode(
        self,
        example: TextExample,
        features: Sequence[Feature],
        outputs: Sequence[Mapping[str, np.ndarray]],
    ) -> dict[str, Any]:
        """{"id", "labels": those more probable than the threshold, "probabilities": of all}."""
        probabilities = _sigmoid(outputs[0]["logits"]).tolist()
        named = dict(zip(self.labels, probabilities))
        labels = [name for name, p in named.items() if p > self.settings.threshold]
        return {"id": example.id, "labels": labels, "probabilities": named}

    def score(self, examples: Sequence[TextExample], predictions: Predictions) -> dict[str, float]:
        """Micro-F1, macro-F1 and exact match, in percent."""
        gold = np.array([self._indicator(e, e.label) for e in examples])
        said = np.array([self._indicator(e, p["labels"]) for e, p in zip(examples, predictions)])
        return metrics.multilabel_scores(gold, said)


class Multilabel(TextKind):
    """Each label holds or does not: "logits" [B, C], "labels" float32 [B, C]."""

    name = "multilabel"
    codec_class = MultilabelCodec
    metrics = ("micro_f1", "macro_f1", "exact_match")
    roles: ClassVar = {"label": ("labels", "label", "categories", "tags")}
    fields: ClassVar = {"labels": Padding(fixed=True)}
    problem_type = "multi_label_classification"
    answer = "labels"

    def example(self, source: Source, where: str, identity: str, record: Record) -> Example:
        """Labels are a list of names; in a table, names between commas."""
        texts = texts_of(source, where, record)
        if not source.labelled:
            return TextExample(where, identity, texts)
        value = source.value("label", where, record)
        if isinstance(value, str):
            value = [name for name in map(str.strip, value.split(",")) if name]
        if not isinstance(value, list):
            raise UserError(
                f"{where}: labels must be a list of names, or names between commas; it holds "
                f"{json.dumps(value, ensure_ascii=False)[:60]}"
            )
        names = tuple(dict.fromkeys(label_name(item, source, where) for item in value))
        return TextExample(where, identity, texts, names)

    def labels_of(self, example: TextExample) -> Sequence[str]:
        """All of them."""
        return example.label if isinstance(example.label, tuple) else ()

    def labels(self, task: Task, examples: Iterable[Any]) -> tuple[str, ...]:
        """All that occur, at least one."""
        return natural_order(labels_in(examples, self.labels_of, least=1))

    def row_losses(self, outputs: Outputs, batch: Batch, settings: LossSettings) -> jax.Array:
        """The mean of the labels' binary cross entropies."""
        smoothing = settings.label_smoothing
        labels = (1.0 - smoothing) * batch["labels"] + 0.5 * smoothing
        losses = binary_cross_entropy(outputs["logits"], labels)
        if settings.class_weights is not None:
            losses *= jnp.asarray(settings.class_weights)[None, :]
        return jnp.mean(losses, -1)

    def divergence(self, one: Outputs, other: Outputs) -> jax.Array:
        """The mean of the labels'."""
        a, b = one["logits"], other["logits"]
        p, q = jax.nn.sigmoid(a), jax.nn.sigmoid(b)
        return jnp.mean(0.5 * (p - q) * (a - b), -1)

    def constant_loss(
        self, examples: Sequence[TextExample], target_range: tuple[float, float]
    ) -> float | None:
        """The mean entropy of the labels."""
        found = Counter(name for e in examples for name in self.labels_of(e))
        if not found:
            return None
        share = np.asarray(list(found.values())) / len(examples)
        rest = np.clip(1.0 - share, 1e-12, 1.0)
        return float(np.mean(-share * np.log(share) - rest * np.log(rest)))

    def better_than_chance(
        self, examples: Sequence[TextExample], predictions: Predictions, scores: Mapping[str, float]
    ) -> bool:
        """Far above chance."""
        gold, said = [self.labels_of(e) for e in examples], [p["labels"] for p in predictions]
        return above_chance(gold, said) >= SURE

    def not_learned(
        self,
        examples: Sequence[TextExample],
        predictions: Predictions,
        scores: Mapping[str, float],
        learnt: bool | None,
    ) -> str | None:
        """The same labels for all, or no more right than by chance."""
        gold, said = [self.labels_of(e) for e in examples], [p["labels"] for p in predictions]
        differ = len({tuple(sorted(labels)) for labels in gold}) > 1
        if differ and len({tuple(labels) for labels in said}) == 1:
            return "it gives every evaluation example the same labels"
        if differ and len(examples) >= ENOUGH and above_chance(gold, said) < LEAST_SURE:
            return "its labels are right no more often than by chance"
        return None

    def errors(
        self, examples: Sequence[TextExample], predictions: Predictions, labels: Sequence[str]
    ) -> list[Block]:
        """None: no label is taken for another."""
        return []

    def class_scores(
        self, codec: Codec, examples: Sequence[TextExample], predictions: Predictions
    ) -> ClassScores:
        """Of each label."""
        gold = [{(name,) for name in self.labels_of(e)} for e in examples]
        predicted = [{(name,) for name in p["labels"]} for p in predictions]
        return class_scores(gold, predicted, codec.labels)

    def mistake(self, example: TextExample, answer: Mapping[str, Any]) -> Mistake | None:
        """The more labels are wrong, and the surer, the worse."""
        right, found = set(self.labels_of(example)), set(answer["labels"])
        wrong = right ^ found
        if not wrong:
            return None
        named = answer["probabilities"]
        weight = sum(named[n] if n in found else 1 - named.get(n, 0.0) for n in wrong)
        sides = (", ".join(sorted(names)) or "none" for names in (right, found))
        return Mistake(weight, shown_texts(example), *sides)


def _sigmoid(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, np.float64)))
