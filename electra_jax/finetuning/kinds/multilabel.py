"""Any number of labels a text or pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from electra_jax.config.finetuning import LossSettings
from electra_jax.errors import UserError
from electra_jax.finetuning.chance import (
    ENOUGH,
    LEAST_SURE,
    SURE,
    Comparison,
    above_chance,
    association,
    compare_f1,
)
from electra_jax.finetuning.data.examples import Codec, Example, Feature, TextExample
from electra_jax.finetuning.data.label_lists import (
    columns_of_bits,
    labels_of_columns,
    labels_of_value,
    resolved,
)
from electra_jax.finetuning.data.records import Record
from electra_jax.finetuning.data.sources import Source, texts_of
from electra_jax.finetuning.kinds.base import Batch, Block, Mistake, Outputs, Padding, Predictions
from electra_jax.finetuning.kinds.labels import labels_in, natural_order
from electra_jax.finetuning.kinds.text import TextCodec, TextKind, shown_texts
from electra_jax.finetuning.losses import binary_cross_entropy
from electra_jax.finetuning.metrics import classification as metrics
from electra_jax.finetuning.metrics.per_class import ClassScores, class_scores
from electra_jax.finetuning.task import Task

_PART = 0.5  # of a constant answer's F1, below which a run is no better whatever it found
_MOST = 10  # labels of a constant answer


class MultilabelCodec(TextCodec):
    """Any number of labels a text: "labels" float32 [labels]. Outputs: "logits" [labels]."""

    def _target(self, example: TextExample) -> Feature:
        row = np.zeros(len(self.labels), np.float32)
        names: Any = example.label
        row[[self._id(example, name) for name in names]] = 1.0
        return {"labels": row}

    def decode(
        self,
        example: TextExample,
        features: Sequence[Feature],
        outputs: Sequence[Mapping[str, np.ndarray]],
    ) -> dict[str, Any]:
        """{"id", "labels": those above the threshold, "probabilities": of all labels by name}."""
        probabilities = _sigmoid(outputs[0]["logits"]).tolist()
        named = dict(zip(self.labels, probabilities))
        labels = [name for name, p in named.items() if p > self.settings.threshold]
        return {"id": example.id, "labels": labels, "probabilities": named}

    def score(self, examples: Sequence[TextExample], predictions: Predictions) -> dict[str, float]:
        """Micro-F1, macro-F1 and exact match, in percent. A label that training has not seen has
        no answer, so it counts as missed."""
        gold = [e.label if isinstance(e.label, tuple) else () for e in examples]
        unseen = dict.fromkeys(n for names in gold for n in names if n not in self._ids)
        columns = {name: i for i, name in enumerate((*self.labels, *unseen))}
        found = [p["labels"] for p in predictions]
        return metrics.multilabel_scores(_indicators(gold, columns), _indicators(found, columns))


def _indicators(rows: Sequence[Sequence[str]], columns: Mapping[str, int]) -> npt.NDArray[np.bool_]:
    """Of the names of each example, [examples, labels]."""
    found = np.zeros((len(rows), len(columns)), bool)
    for i, names in enumerate(rows):
        found[i, [columns[name] for name in names]] = True
    return found


class Multilabel(TextKind):
    """Independent binary labels: "logits" [B, C], "labels" float32 [B, C] of 0 and 1."""

    name = "multilabel"
    codec_class = MultilabelCodec
    metrics = ("micro_f1", "macro_f1", "exact_match")
    roles: ClassVar = {"label": ("labels", "label", "categories", "tags")}
    fields: ClassVar = {"labels": Padding(fixed=True)}
    problem_type = "multi_label_classification"
    answer = "labels"

    def example(self, source: Source, where: str, identity: str, record: Record) -> Example:
        """Labels are a list of names or a vector of 0 and 1; in a table also names between commas,
        or one column of 0 and 1 for each label (data.columns.label=toxic,insult)."""
        texts = texts_of(source, where, record)
        if not source.labelled:
            return TextExample(where, identity, texts)
        column = source.columns.get("label", "")
        if "," in column and column not in record:
            names = [name.strip() for name in column.split(",")]
            label = labels_of_columns(names, source, where, record)
        elif not column and len(bits := columns_of_bits(record)) > 1:
            raise UserError(
                f"{where} has no column for the labels; where each is a column of 0 and 1, name "
                f"them: --config.data.columns.label={','.join(bits)} (--columns label=… elsewhere)"
            )
        else:
            label = labels_of_value(source.value("label", where, record), source, where)
        return TextExample(where, identity, texts, label)

    def read(self, task: Task, path: str, *arguments: Any, **options: Any) -> Iterator[Example]:
        """As other kinds; whether lists of 0 and 1 are vectors, the file decides."""
        lenient = bool(options.get("lenient"))
        return resolved(super().read(task, path, *arguments, **options), path, lenient)

    def labels_of(self, example: TextExample) -> Sequence[str]:
        """All labels of an example."""
        return example.label if isinstance(example.label, tuple) else ()

    def labels(self, task: Task, examples: Iterable[Any]) -> tuple[str, ...]:
        """All labels in the data, at least one."""
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
        """The mean over labels, [B]."""
        a, b = one["logits"], other["logits"]
        p, q = jax.nn.sigmoid(a), jax.nn.sigmoid(b)
        return jnp.mean(0.5 * (p - q) * (a - b), -1)

    def constant_loss(
        self, examples: Sequence[TextExample], target_range: tuple[float, float]
    ) -> float | None:
        """The mean binary entropy of the labels, in nats."""
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
        gold, found = [self.labels_of(e) for e in examples], [p["labels"] for p in predictions]
        return above_chance(gold, found) >= SURE and association(gold, found) >= LEAST_SURE

    def not_learned(
        self,
        examples: Sequence[TextExample],
        predictions: Predictions,
        scores: Mapping[str, float],
        learnt: bool | None,
    ) -> str | None:
        """No labels, the same labels for all, or no more right than by chance or than a part of
        what the same labels for all have."""
        gold, found = [self.labels_of(e) for e in examples], [p["labels"] for p in predictions]
        if any(gold) and not any(found):
            return "it predicts no label for any evaluation example"
        if len({tuple(sorted(labels)) for labels in gold}) < 2:
            return None
        if len({tuple(labels) for labels in found}) == 1:
            return "it gives every evaluation example the same labels"
        if len(examples) < ENOUGH:
            return None
        if association(gold, found) < LEAST_SURE:
            return "its labels are right no more often than by chance"
        compared = _compared(gold, found)
        if not compared.beaten and compared.score < _PART * compared.constant:
            return (
                f"its micro-F1 is {compared.score:.1f}, where the same labels for all have "
                f"{compared.constant:.1f}"
            )
        return None

    def errors(
        self, examples: Sequence[TextExample], predictions: Predictions, labels: Sequence[str]
    ) -> list[Block]:
        """No blocks: labels are independent, so none is confused with another."""
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


def _compared(gold: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> Comparison:
    """Micro-F1, against the same labels for all: the commonest, as many as are best."""

    def counts(answers: Sequence[Sequence[str]]) -> npt.NDArray[np.int64]:
        return np.array(
            [(len(set(a) & set(b)), len(b), len(a)) for a, b in zip(gold, answers, strict=True)]
        )

    common = [name for name, _ in Counter(name for names in gold for name in names).most_common()]
    constants = [counts([common[:size]] * len(gold)) for size in range(1, len(common[:_MOST]) + 1)]
    best = max(constants, key=lambda c: 2 * c[:, 0].sum() / c[:, 1:].sum())
    return compare_f1(counts(found), best)


def _sigmoid(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, np.float64)))
