"""The codec of multiple choice and of ranking (response selection)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.finetuning import metrics
from electra_jax.finetuning.encoding import NOTHING, Ids, PairEncoder, softmax
from electra_jax.finetuning.examples import ChoiceExample, CodecSettings, Feature
from electra_jax.finetuning.tasks import Task
from electra_jax.text.tokenizer import Tokenizer

Outputs = Mapping[str, np.ndarray]


class ChoiceCodec:
    """One of several continuations: [CLS] context [SEP] choice [SEP] for each, or [CLS] passage
    question [SEP] choice [SEP].

    The turns of a dialogue (lines of the context, for `ranking`) have [SEP] between them, and the
    oldest are cut first where they do not fit; other contexts are cut from their end, a passage
    before its question.

    Attributes:
      labels: () (choices have no names).
      truncated: how many of the pairs encoded so far were cut.
    """

    def __init__(
        self, task: Task, tokenizer: Tokenizer, settings: CodecSettings, labels: tuple[str, ...]
    ):
        self.task = task
        self.settings = settings
        self.labels: tuple[str, ...] = ()
        self._pairs = PairEncoder(tokenizer, settings.max_length)
        self._separator = np.array([tokenizer.special_ids.sep], np.int32)

    @property
    def metric(self) -> str:
        """The score by which runs and checkpoints are compared."""
        return self.task.metric

    @property
    def truncated(self) -> int:
        return self._pairs.truncated

    def expand(self, examples: Iterable[ChoiceExample]) -> Iterator[ChoiceExample]:
        """The examples to train on: all, once."""
        yield from examples

    def encode(self, example: ChoiceExample, train: bool) -> list[Feature]:
        """One feature: "input_ids", "token_type_ids": lists of int32 [n], one a choice; with
        `train`, "label" int32."""
        ranking = self.task.kind == "ranking"
        context, choices = self._context(example, ranking), self._pairs.texts(example.choices)
        question = self._pairs.texts([example.question])[0] if example.question else NOTHING
        pairs = [self._pairs.join((context, choice), ranking, question) for choice in choices]
        feature: Feature = {
            "input_ids": [ids for ids, _ in pairs],
            "token_type_ids": [types for _, types in pairs],
        }
        if train:
            assert example.label is not None
            feature["label"] = np.int32(example.label)
        return [feature]

    def _context(self, example: ChoiceExample, ranking: bool) -> Ids:
        if not ranking:
            return self._pairs.texts([example.context])[0]
        turns = self._pairs.texts(example.context.split("\n"))
        parts = [part for turn in turns for part in (turn, self._separator)]
        return np.concatenate(parts[:-1])

    def decode(
        self, example: ChoiceExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> dict[str, Any]:
        """{"id", "prediction": index of the best choice, "choice": its text, "probabilities": of
        the choices in order}. Outputs: "logits" [choices]."""
        probabilities = softmax(np.asarray(outputs[0]["logits"])[: len(example.choices)])
        best = int(np.argmax(probabilities))
        return {
            "id": example.id,
            "prediction": best,
            "choice": example.choices[best],
            "probabilities": probabilities.tolist(),
        }

    def score(
        self, examples: Sequence[ChoiceExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Accuracy; for ranking, recall at 1, 2 and 5 and the mean reciprocal rank; in percent."""
        gold = [-1 if example.label is None else example.label for example in examples]
        if self.task.kind != "ranking":
            return {"accuracy": metrics.accuracy(gold, [p["prediction"] for p in predictions])}
        ranks = [metrics.rank_of(p["probabilities"], g) for p, g in zip(predictions, gold)]
        scores = {f"recall_at_{k}": metrics.recall_at(k, ranks) for k in (1, 2, 5)}
        return {**scores, "mrr": metrics.mean_reciprocal_rank(ranks)}
