"""The base of kinds over one text or a pair, and of their codecs."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.data.encoding import Ids, PairEncoder
from electra_jax.finetuning.data.examples import Codec, CodecSettings, Example, Feature, TextExample
from electra_jax.finetuning.data.sources import unknown_label
from electra_jax.finetuning.kinds.base import Batch, FeatureOutputs, HuggingFaceKind, Outputs
from electra_jax.finetuning.task import Task
from electra_jax.modeling.heads.huggingface import SEQUENCE
from electra_jax.text.tokenizers.tokenizer import Tokenizer

_TEXT = ("text", "sentence", "review", "content", "question", "title", "tokens", "words")
SINGLE = tuple((name,) for name in _TEXT)
PAIRS = (
    ("sentence1", "sentence2"),
    ("#1 String", "#2 String"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text", "text_pair"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("query", "passage"),
)


class TextCodec(Codec):
    """[CLS] text [SEP], or [CLS] text [SEP] other [SEP]."""

    def __init__(
        self, task: Task, tokenizer: Tokenizer, settings: CodecSettings, labels: tuple[str, ...]
    ):
        self.task = task
        self.settings = settings
        self.labels = labels
        self.metric = task.metric
        self._ids = {label: i for i, label in enumerate(labels)}
        self._pairs = PairEncoder(tokenizer, settings.max_length)

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

    @abc.abstractmethod
    def _target(self, example: TextExample) -> Feature:
        """The entries of a feature that hold the label, for training."""

    def _id(self, example: TextExample, label: Any) -> int:
        if label not in self._ids:
            raise unknown_label(example.where, str(label), self.labels)
        return self._ids[label]


class TextKind(HuggingFaceKind):
    """One or two texts, classified at [CLS]: "logits" [B, C]."""

    texts = (*PAIRS, *SINGLE)
    huggingface = SEQUENCE

    @property
    @abc.abstractmethod
    def codec_class(self) -> type[TextCodec]:
        """The class of the kind's codec."""

    def codec(
        self,
        task: Task,
        tokenizer: Tokenizer,
        settings: CodecSettings,
        labels: tuple[str, ...],
        head: str,
    ) -> Codec:
        """A codec of `codec_class`."""
        return self.codec_class(task, tokenizer, settings, labels)

    def input(
        self,
        task: Task,
        value: Any,
        where: str,
        number: int,
        columns: Mapping[str, str],
        usual: Mapping[str, str],
    ) -> Example:
        """A text, a pair of texts, or a mapping."""
        if isinstance(value, Mapping):
            return super().input(task, value, where, number, columns, usual)
        texts = (value,) if isinstance(value, str) else tuple(value)
        if not 1 <= len(texts) <= 2 or not all(isinstance(t, str) and t.strip() for t in texts):
            raise UserError(f"{where}: give one text or two, not empty: {value!r}")
        return TextExample(where, str(number), self.given(texts, where))

    def given(self, texts: tuple[str, ...], where: str) -> tuple[str, ...]:
        """The texts of the example for the texts of an input of `predict`."""
        return texts

    def without_texts(self, example: TextExample) -> TextExample:
        """The label alone."""
        return dataclasses.replace(example, texts=())

    def outputs(self, found: Any, batch: Batch) -> Outputs:
        """The logits, unchanged."""
        return {"logits": found}

    def cut(self, outputs: FeatureOutputs, feature: Feature) -> FeatureOutputs:
        """The outputs, unchanged: none is padding."""
        return outputs


def shown_texts(example: TextExample) -> str:
    """The text, or both, as a report shows them."""
    return " ⏎ ".join(text for text in example.texts if text)
