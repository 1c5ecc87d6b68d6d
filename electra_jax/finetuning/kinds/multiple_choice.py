"""Multiple choice, and ranking of candidates (response selection)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from electra_jax.errors import UserError
from electra_jax.finetuning.chance import ENOUGH, SURE, no_better_than_chance
from electra_jax.finetuning.data.encoding import NOTHING, Ids, PairEncoder, softmax
from electra_jax.finetuning.data.examples import (
    ChoiceExample,
    Codec,
    CodecSettings,
    Example,
    Feature,
)
from electra_jax.finetuning.data.records import Record
from electra_jax.finetuning.data.sources import Source, no_column, text_of, value_of
from electra_jax.finetuning.data.values import missing_label, structure_of
from electra_jax.finetuning.kinds.base import (
    Batch,
    Block,
    FeatureOutputs,
    Mistake,
    Outputs,
    Predictions,
)
from electra_jax.finetuning.kinds.labels import OneRight
from electra_jax.finetuning.metrics import classification as metrics
from electra_jax.finetuning.task import Task
from electra_jax.modeling.heads.huggingface import CHOICE
from electra_jax.text.tokenizers.tokenizer import Tokenizer

FAR = -1e9  # the logit of an absent choice


class MultipleChoice(OneRight):
    """One of several continuations: "input_ids" [B, C, L], "logits" [B, C], `FAR` for absent
    choices."""

    name = "multiple_choice"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    roles: ClassVar = {
        "context": ("context", "passage", "article", "prompt", "ctx"),
        "question": ("question", "query"),
        "choices": ("choices", "candidates", "options", "endings", "answers"),
        "label": ("label", "answerKey", "answer", "gold"),
    }
    huggingface = CHOICE
    answer = "prediction"

    def example(self, source: Source, where: str, identity: str, record: Record) -> Example:
        """Context or question or both, the choices, and the right one's index."""
        contexts = [
            _turns(value_of(record, source.columns[r], r, where), source.columns[r], where)
            for r in ("context", "question")
            if source.plays(r, record)
        ]
        if not contexts:
            raise no_column(where, record, "context", "context or question")
        choices, names = _choices(source, where, record)
        label = _choice_label(source, where, record, choices, names) if source.labelled else None
        contexts = self._contexts(contexts)
        return ChoiceExample(where, identity, contexts[0], choices, label, *contexts[1:])

    def _contexts(self, contexts: list[str]) -> list[str]:
        return contexts

    def codec(
        self,
        task: Task,
        tokenizer: Tokenizer,
        settings: CodecSettings,
        labels: tuple[str, ...],
        head: str,
    ) -> Codec:
        """`ChoiceCodec`."""
        return ChoiceCodec(task, tokenizer, settings)

    def without_texts(self, example: ChoiceExample) -> ChoiceExample:
        """The label alone."""
        return dataclasses.replace(example, context="", choices=(), question="")

    def outputs(self, found: Any, batch: Batch) -> Outputs:
        """Scores [B · C] as logits [B, C]."""
        there = batch["lengths"] > 0
        return {"logits": jnp.where(there, found.reshape(there.shape), FAR)}

    def cut(self, outputs: FeatureOutputs, feature: Feature) -> FeatureOutputs:
        """The logits of the choices, without padding."""
        return {"logits": outputs["logits"][: len(feature["input_ids"])]}

    def constant_loss(
        self, examples: Sequence[ChoiceExample], target_range: tuple[float, float]
    ) -> float | None:
        """The loss of equal probabilities."""
        return float(np.mean(np.log([len(e.choices) for e in examples])))

    def better_than_chance(
        self,
        examples: Sequence[ChoiceExample],
        predictions: Predictions,
        scores: Mapping[str, float],
    ) -> bool:
        """Far above chance, and right on half of those that chance gets wrong: a run that collapsed
        to a constant may have kept an early step that is only just above chance."""
        count, right, chance, spread = _right_choices(examples, predictions)
        return count > 0 and right - chance >= max(SURE * spread, (count - chance) / 2)

    def not_learned(
        self,
        examples: Sequence[ChoiceExample],
        predictions: Predictions,
        scores: Mapping[str, float],
        learnt: bool | None,
    ) -> str | None:
        """No more right than by chance, within the sampling error."""
        count, right, chance, spread = _right_choices(examples, predictions)
        if not count or (learnt and count < ENOUGH):
            return None
        z = (right - chance) / spread
        if right <= chance or no_better_than_chance(z, count):
            return f"{right} of {count} choices are right, no more than by chance ({chance:.0f})"
        return None

    def errors(
        self, examples: Sequence[ChoiceExample], predictions: Predictions, labels: Sequence[str]
    ) -> list[Block]:
        """None: choices have no names."""
        return []

    def mistake(self, example: ChoiceExample, answer: Mapping[str, Any]) -> Mistake | None:
        """The less probable the right choice, the worse."""
        right, chosen = example.label, answer["prediction"]
        if right is None or chosen == right:
            return None
        text = " ⏎ ".join(filter(None, (example.context, example.question)))
        weight = 1.0 - answer["probabilities"][right]
        return Mistake(weight, text, example.choices[right], example.choices[chosen])


class Ranking(MultipleChoice):
    """The answer to a dialogue among candidates."""

    name = "ranking"
    metrics = ("recall_at_1", "recall_at_2", "recall_at_5", "mrr")
    max_length = 256

    def _contexts(self, contexts: list[str]) -> list[str]:
        return ["\n".join(contexts)]

    def codec(
        self,
        task: Task,
        tokenizer: Tokenizer,
        settings: CodecSettings,
        labels: tuple[str, ...],
        head: str,
    ) -> Codec:
        """`RankingCodec`."""
        return RankingCodec(task, tokenizer, settings)


def _right_choices(
    examples: Sequence[ChoiceExample], predictions: Predictions
) -> tuple[int, int, float, float]:
    """Over the examples with at least two choices: their number, the number right, and the mean and
    standard deviation of the number right by chance."""
    pairs = [x for x in zip(examples, predictions, strict=True) if len(x[0].choices) > 1]
    chances = [1 / len(e.choices) for e, _ in pairs]
    right = sum(e.label == p["prediction"] for e, p in pairs)
    return len(pairs), right, sum(chances), sum(c * (1 - c) for c in chances) ** 0.5


def _turns(value: Any, column: str, where: str) -> str:
    """A text, or the turns of a dialogue with a line break between them."""
    if isinstance(value, list):
        if not value:
            raise UserError(f'{where}: column "{column}" has no turns; remove or mend the line')
        return "\n".join(" ".join(text_of(turn, column, where).split()) for turn in value)
    return text_of(value, column, where)


def _choices(source: Source, where: str, record: Record) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The choices, and their names in labels (the data's own, else A, B, …)."""
    names: Sequence[Any] = ()
    column = source.columns.get("choices", "")
    value: Any
    if "," in column and column not in record:
        value = [value_of(record, name.strip(), "choices", where) for name in column.split(",")]
    else:
        value = structure_of(source.value("choices", where, record))
    if isinstance(value, Mapping):
        names, value = value.get("label", ()), value.get("text")
    if not isinstance(value, list) or len(value) < 2:
        raise UserError(
            f"{where}: choices must be a list of at least two texts (columns of a table: "
            f"data.columns.choices=a,b,c); it holds {json.dumps(value, ensure_ascii=False)[:60]}"
        )
    if not all(isinstance(item, str) for item in value):
        raise UserError(f"{where}: each choice must be a string; they are {value!r:.60}")
    texts = tuple(value)  # published data has empty choices
    letters = [chr(ord("A") + i) for i in range(min(len(texts), 26))]
    return texts, tuple(map(str, names)) or tuple(letters)


def _choice_label(
    source: Source, where: str, record: Record, choices: Sequence[str], names: Sequence[str]
) -> int | None:
    """An index from 0, the name of a choice, or the choice itself; None where the data says that
    there is no label."""
    value = source.value("label", where, record)
    if missing_label(value) is not None and value not in choices:
        return None
    if type(value) in (str, int) and str(value) in names:
        return names.index(str(value))
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(value, str) and choices.count(value) == 1:
        if number in range(len(choices)) and choices[number] != value:
            raise UserError(
                f'{where}: the label "{value}" may be the choice "{value}" or the one of that '
                f'index, "{choices[number]}"; give the letter ({", ".join(names)})'
            )
        return choices.index(value)
    if type(number) is not int:
        raise UserError(
            f"{where}: the label {json.dumps(value, ensure_ascii=False)[:60]} is no choice; give "
            f"its index (0 to {len(choices) - 1}), its letter or its text"
        )
    if not 0 <= number < len(choices):
        raise UserError(
            f"{where}: the label {number} is out of range; there are {len(choices)} choices, "
            f"numbered 0 to {len(choices) - 1}"
        )
    return number


class ChoiceCodec(Codec):
    """One of several continuations: [CLS] context [SEP] choice [SEP] for each, or [CLS] passage
    question [SEP] choice [SEP].

    A context is cut from its end where it does not fit, a passage before its question.
    """

    keeps_end = False

    def __init__(self, task: Task, tokenizer: Tokenizer, settings: CodecSettings):
        self.metric = task.metric
        self._pairs = PairEncoder(tokenizer, settings.max_length)
        self._separator = np.array([tokenizer.special_ids.sep], np.int32)

    @property
    def truncated(self) -> int:
        return self._pairs.truncated

    def encode(self, example: ChoiceExample, train: bool) -> list[Feature]:
        """One feature: "input_ids", "token_type_ids": lists of int32 [n], one a choice; with
        `train`, "label" int32."""
        context, choices = self._context(example), self._pairs.texts(example.choices)
        question = self._pairs.texts([example.question])[0] if example.question else NOTHING
        keep_end = self.keeps_end
        pairs = [self._pairs.join((context, choice), keep_end, question) for choice in choices]
        feature: Feature = {
            "input_ids": [ids for ids, _ in pairs],
            "token_type_ids": [types for _, types in pairs],
        }
        if train:
            assert example.label is not None
            feature["label"] = np.int32(example.label)
        return [feature]

    def _context(self, example: ChoiceExample) -> Ids:
        return self._pairs.texts([example.context])[0]

    def decode(
        self,
        example: ChoiceExample,
        features: Sequence[Feature],
        outputs: Sequence[Mapping[str, np.ndarray]],
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
        self, examples: Sequence[ChoiceExample], predictions: Predictions
    ) -> dict[str, float]:
        """Accuracy in percent."""
        return {
            "accuracy": metrics.accuracy(_gold(examples), [p["prediction"] for p in predictions])
        }


class RankingCodec(ChoiceCodec):
    """The turns of a dialogue (lines of the context) have [SEP] between them, and the oldest are
    cut first where they do not fit."""

    keeps_end = True

    def _context(self, example: ChoiceExample) -> Ids:
        turns = self._pairs.texts(example.context.split("\n"))
        parts = [part for turn in turns for part in (turn, self._separator)]
        return np.concatenate(parts[:-1])

    def score(
        self, examples: Sequence[ChoiceExample], predictions: Predictions
    ) -> dict[str, float]:
        """Recall at 1, 2 and 5 and the mean reciprocal rank, in percent."""
        gold = _gold(examples)
        ranks = [metrics.rank_of(p["probabilities"], g) for p, g in zip(predictions, gold)]
        scores = {f"recall_at_{k}": metrics.recall_at(k, ranks) for k in (1, 2, 5)}
        return {**scores, "mrr": metrics.mean_reciprocal_rank(ranks)}


def _gold(examples: Sequence[ChoiceExample]) -> list[int]:
    return [-1 if example.label is None else example.label for example in examples]
