"""Codecs of one text or a pair: classification (and relations), several labels, regression."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from electra_jax.finetuning import metrics
from electra_jax.finetuning.encoding import Ids, PairEncoder, softmax
from electra_jax.finetuning.entity_marks import MARKS
from electra_jax.finetuning.examples import CodecSettings, Feature, TextExample
from electra_jax.finetuning.readers import unknown_label
from electra_jax.finetuning.tasks import Task
from electra_jax.text.tokenizer import Tokenizer

Outputs = Mapping[str, np.ndarray]


class _TextCodec:
    """What the kinds over one text or a pair share.

    Attributes:
      truncated: how many of the texts encoded so far were cut to fit `max_length`.
    """

    def __init__(
        self, task: Task, tokenizer: Tokenizer, settings: CodecSettings, labels: tuple[str, ...]
    ):
        self.task = task
        self.settings = settings
        self.labels = labels
        self._ids = {label: i for i, label in enumerate(labels)}
        self._pairs = PairEncoder(tokenizer, settings.max_length)

    @property
    def metric(self) -> str:
        """The score by which runs and checkpoints are compared."""
        return self.task.metric

    @property
    def truncated(self) -> int:
        return self._pairs.truncated

    def expand(self, examples: Iterable[TextExample]) -> Iterator[TextExample]:
        """The examples to train on: with `double_unordered`, each pair the other way round too."""
        for example in examples:
            yield example
            if self.settings.double_unordered and len(example.texts) == 2:
                texts = example.texts[::-1]
                yield TextExample(example.where, f"{example.id}-swapped", texts, example.label)

    def encode(self, example: TextExample, train: bool) -> list[Feature]:
        """One feature: "input_ids", "token_type_ids" int32 [n], and with `train` the label."""
        texts = example.texts if example.texts[-1] else example.texts[:1]
        input_ids, types = self._pairs.join(self._parts(texts))
        feature: Feature = {"input_ids": input_ids, "token_type_ids": types}
        if train:
            feature.update(self._target(example))
        return [feature]

    def _parts(self, texts: Sequence[str]) -> list[Ids]:
        return self._pairs.texts(texts)

    def _target(self, example: TextExample) -> Feature:
        raise NotImplementedError

    def _id(self, example: TextExample, label: Any) -> int:
        if label not in self._ids:
            raise unknown_label(example.where, str(label), self.labels)
        return self._ids[label]


class ClassificationCodec(_TextCodec):
    """One label a text or pair: "label" int32. Outputs: "logits" [labels]."""

    def _target(self, example: TextExample) -> Feature:
        return {"label": np.int32(self._id(example, example.label))}

    def decode(
        self, example: TextExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> dict[str, Any]:
        """{"id", "label", "probabilities": {label: probability}}."""
        probabilities = softmax(outputs[0]["logits"])
        return {
            "id": example.id,
            "label": self.labels[int(np.argmax(probabilities))],
            "probabilities": dict(zip(self.labels, probabilities.tolist())),
        }

    def score(
        self, examples: Sequence[TextExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """The task's metrics, in percent."""
        gold = [str(example.label) for example in examples]
        predicted = [prediction["label"] for prediction in predictions]
        return {n: _CLASS_METRICS[n](gold, predicted, self.task) for n in self.task.metrics}


class RelationCodec(ClassificationCodec):
    """One label for two marked entities of a text. A text that does not fit is cut on both sides,
    so that its entities stay.

    Attributes:
      lost_entities: in how many of the texts encoded so far that was not possible.
    """

    def __init__(
        self, task: Task, tokenizer: Tokenizer, settings: CodecSettings, labels: tuple[str, ...]
    ):
        super().__init__(task, tokenizer, settings, labels)
        self._marks = [tokenizer.encode(mark)[-1] for mark in MARKS]
        self.lost_entities = 0

    def _parts(self, texts: Sequence[str]) -> list[Ids]:
        (ids,) = super()._parts(texts)
        room = self.settings.max_length - 2
        places = np.flatnonzero(np.isin(ids, self._marks))
        if len(ids) <= room or not places.size or places[-1] < room:
            return [ids]
        first, last = int(places[0]), int(places[-1])
        spare = room - (last + 1 - first)
        self.lost_entities += spare < 0
        return [ids[min(first - max(spare, 0) // 2, len(ids) - room) :]]


class MultilabelCodec(_TextCodec):
    """Any number of labels a text: "labels" float32 [labels]. Outputs: "logits" [labels]."""

    def _target(self, example: TextExample) -> Feature:
        return {"labels": self._indicator(example, example.label).astype(np.float32)}

    def _indicator(self, example: TextExample, names: Any) -> npt.NDArray[np.bool_]:
        row = np.zeros(len(self.labels), bool)
        row[[self._id(example, name) for name in names]] = True
        return row

    def decode(
        self, example: TextExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> dict[str, Any]:
        """{"id", "labels": those more probable than the threshold, "probabilities": of all}."""
        probabilities = _sigmoid(outputs[0]["logits"]).tolist()
        named = dict(zip(self.labels, probabilities))
        labels = [name for name, p in named.items() if p > self.settings.threshold]
        return {"id": example.id, "labels": labels, "probabilities": named}

    def score(
        self, examples: Sequence[TextExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Micro-F1, macro-F1 and exact match, in percent."""
        gold = np.array([self._indicator(e, e.label) for e in examples])
        said = np.array([self._indicator(e, p["labels"]) for e, p in zip(examples, predictions)])
        return metrics.multilabel_scores(gold, said)


class RegressionCodec(_TextCodec):
    """A number a text or pair: "target" float32, scaled by `target_range`. Outputs: "logits" [1],
    scaled so too."""

    def _target(self, example: TextExample) -> Feature:
        assert isinstance(example.label, float)
        low, high = self.settings.target_range
        return {"target": np.float32((example.label - low) / (high - low))}

    def decode(
        self, example: TextExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> dict[str, Any]:
        """{"id", "score"}, in the unit of the data."""
        low, high = self.settings.target_range
        value = float(np.asarray(outputs[0]["logits"], np.float64).reshape(()))
        return {"id": example.id, "score": low + value * (high - low)}

    def score(
        self, examples: Sequence[TextExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Both correlations in percent, and the mean squared error in the unit of the data."""
        gold = [float(example.label) for example in examples]  # type: ignore[arg-type]
        said = [float(prediction["score"]) for prediction in predictions]
        return {name: _NUMBER_METRICS[name](gold, said) for name in self.task.metrics}


def _sigmoid(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, np.float64)))


_CLASS_METRICS: dict[str, Callable[[list[str], list[str], Task], float]] = {
    "accuracy": lambda gold, said, task: metrics.accuracy(gold, said),
    "matthews": lambda gold, said, task: metrics.matthews_correlation(gold, said),
    "f1": lambda gold, said, task: metrics.binary_f1(gold, said, task.positive).f1,
    "macro_f1": lambda gold, said, task: metrics.macro_f1(gold, said),
    "directed_f1": lambda gold, said, task: (
        metrics.directed_relation_scores(gold, said)["macro"].f1
    ),
}

_NUMBER_METRICS: dict[str, Callable[[list[float], list[float]], float]] = {
    "pearson": metrics.pearson_correlation,
    "spearman": metrics.spearman_correlation,
    "mean_squared_error": metrics.mean_squared_error,
}
