"""The contract of a kind of task: everything that differs between, say, classification and tagging.

A kind is one class in one file and a line in `table.py`, or a file of the user's own named by
`FILE.py:CLASS`. Reading, batching, training, judging, exporting and predicting call its members and
know nothing else of it. Members without a default that suits every kind are abstract.
Letters: B rows, L length, W words, C labels or choices, E embedding width, H hidden width.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import flax.linen as nn
import jax
import numpy as np

from electra_jax.config.fields import absent_values, read
from electra_jax.config.finetuning import LossSettings
from electra_jax.config.model import ElectraConfig
from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import (
    BadExample,
    Codec,
    CodecSettings,
    Example,
    Feature,
)
from electra_jax.finetuning.data.published import plain_record
from electra_jax.finetuning.data.records import BadRecord, Record, read_records
from electra_jax.finetuning.data.sources import Source, check_roles, unknown_label
from electra_jax.finetuning.metrics.per_class import ClassScores
from electra_jax.finetuning.task import Task
from electra_jax.modeling.heads.huggingface import FineTuned
from electra_jax.text.tokenizers.tokenizer import Tokenizer

Batch = Mapping[str, jax.Array]
Outputs = dict[str, jax.Array]
Predictions = Sequence[Mapping[str, Any]]
FeatureOutputs = dict[str, np.ndarray]
Block = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Padding:
    """How a field of features becomes an array of a batch; a number becomes an array [B] as it is.

    Attributes:
      fill: what pads; None: the tokenizer's pad id.
      fixed: every feature has the same shape: nothing to pad, new rows are zeros.
      lengths: padded to the smallest of these that fits the longest of the batch, instead of to
        the length of the batch (for targets whose length is not the input's).
    """

    fill: int | None = 0
    fixed: bool = False
    lengths: tuple[int, ...] = ()


class Mistake(NamedTuple):
    """A wrong answer as the report shows it; the `worst` have the greatest `weight`."""

    weight: float
    text: str
    right: str
    answer: str


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """Of a kind without fields of its own."""


class Kind(abc.ABC):
    """One kind of task. It has no state but its settings: one object serves all tasks of the kind.

    Attributes:
      name: its name in the table of tasks and in model folders (by default the class's).
      texts, metrics, max_length, epochs, label_names: fields of the task (`task.Task`) that a kind
        in a user's own file defines; the package's tasks have them in `task_table.py`.
      fields: how the features' entries are padded; those not named are padded with 0 to the
        batch's length.
      reference: the reference's head for it, in `modeling.heads.reference`; None: it has none.
      huggingface: the head of the exported model, in `modeling.heads.huggingface`; None: heads of
        the kind's own, exported as `model_type: electra_jax`.
      problem_type: config.json's, by which `transformers` chooses its loss.
      whole_batch: a row's loss depends on the other rows of its batch (in-batch negatives), so
        that a batch cannot be split by accumulation.
      has_columns: whether files of the kind have one column for each role.
      answer: the key of a prediction that holds the answer.
      Settings: the kind's own fields, a frozen dataclass of `fields.field`s with the keys of
        `--config.kind.*`; `self.settings` holds their values, which model folders keep.
    """

    name: ClassVar[str]
    texts: ClassVar[tuple[tuple[str, ...], ...]] = ()
    metrics: ClassVar[tuple[str, ...]] = ()
    max_length: ClassVar[int] = 128
    epochs: ClassVar[float] = 3.0
    label_names: ClassVar[tuple[str, ...] | None] = None
    fields: ClassVar[Mapping[str, Padding]] = {}
    reference: ClassVar[str | None] = None
    huggingface: ClassVar[str | None] = None
    problem_type: ClassVar[str | None] = None
    whole_batch: ClassVar[bool] = False
    has_columns: ClassVar[bool] = True
    answer: ClassVar[str] = "answer"
    Settings: ClassVar[type[Any]] = NoSettings
    settings: Any = NoSettings()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        if "Settings" in cls.__dict__:
            cls.settings = cls.Settings()

    def with_settings(self, values: Mapping[str, Any]) -> Self:
        """The kind with values of its own fields; a field that is absent has its default, or what
        its absence means. Raises `UserError` on an unknown field or a wrong value."""
        if not values:
            return self
        found = copy.copy(self)
        found.settings = read(self.Settings, {**absent_values(self.Settings), **values}, "kind")
        return found

    # Data: records → examples → features.

    @property
    @abc.abstractmethod
    def roles(self) -> Mapping[str, tuple[str, ...]]:
        """The roles of columns beside the texts, and the accepted column names of each."""

    @abc.abstractmethod
    def example(self, source: Source, where: str, identity: str, record: Record) -> Example:
        """The example of a record, with its label where `source.labelled`. Raises `UserError`."""

    @abc.abstractmethod
    def codec(
        self,
        task: Task,
        tokenizer: Tokenizer,
        settings: CodecSettings,
        labels: tuple[str, ...],
        head: str,
    ) -> Codec:
        """The codec: examples to features, outputs to answers. `head` is "huggingface" (or the
        kind's own) or "reference"."""

    def records(
        self,
        task: Task,
        path: str,
        columns: Mapping[str, str],
        labelled: bool,
        *,
        lenient: bool = False,
    ) -> tuple[Iterator[tuple[str, Record]], Mapping[str, str]]:
        """(where, record) of a file, and the named columns that its records still have."""
        return read_records(path, task.headerless, lenient), columns

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
        """The examples of a file; see `readers.read_examples`."""
        check_roles(task, columns)
        known = None if labels is None else frozenset(labels)
        more = {"lenient": True} if lenient else {}
        records, columns = self.records(task, path, columns, labelled, **more)
        source: Source | None = None
        for number, (where, found) in enumerate(records):
            try:
                if isinstance(found, BadRecord):
                    raise found.error
                record = plain_record(found)
                source = source or Source(task, columns, record, where, labelled, usual)
                source.see(record, where)
                example = self.example(source, where, source.identity(record, number), record)
                if known is not None:
                    for label in self.labels_of(example):
                        if label not in known:
                            raise unknown_label(example.where, label, known)
            except UserError as error:
                if not lenient:
                    raise
                example = BadExample(where, str(number), error)
            yield example
        if source is None and not lenient:
            raise UserError(f"{path}: there are no examples in it")

    def input(
        self,
        task: Task,
        value: Any,
        where: str,
        number: int,
        columns: Mapping[str, str],
        usual: Mapping[str, str],
    ) -> Example:
        """An input of `predict`: a mapping is read as a line of a file is. Raises `UserError`, or
        `TypeError` where it is no input at all."""
        if not isinstance(value, Mapping):
            raise TypeError("a mapping is needed")
        record = plain_record(dict(value))
        source = Source(task, columns, record, where, False, usual)
        return self.example(source, where, source.identity(record, number), record)

    def labels_of(self, example: Any) -> Sequence[str]:
        """The names of an example's labels."""
        return ()

    def labels(self, task: Task, examples: Iterable[Any]) -> tuple[str, ...]:
        """The labels that occur, in the order of their ids, for a task that names none; () where
        the kind has no labels. Raises `UserError` where there are too few to learn from."""
        return ()

    def check_examples(self, task: Task, path: str, examples: Iterable[Any]) -> int:
        """The number of examples; may warn about them. Raises `UserError` where there is none."""
        count = sum(1 for _ in examples)
        if not count:
            raise UserError(f"{path}: no examples in it")
        return count

    def prepare(
        self, task: Task, path: str, examples: list[Any], settings: CodecSettings
    ) -> tuple[list[Any], CodecSettings]:
        """The usable training examples, and the settings with what depends on the examples."""
        return examples, settings

    def without_texts(self, example: Any) -> Any:
        """The example without what scores do not read; `evaluate` keeps these in memory."""
        return example

    def for_scores(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer without what scores do not read."""
        return answer

    # Network: the outputs of one head or several, from the hidden states.

    @abc.abstractmethod
    def network(self, config: ElectraConfig, outputs: int, dropout_rate: float) -> nn.Module:
        """The Linen module: the encoder, named `electra`, and heads. `HuggingFaceKind` implements
        it; for heads of one's own use `modeling.heads.headed.Headed`."""

    @abc.abstractmethod
    def outputs(self, found: Any, batch: Batch) -> Outputs:
        """The named outputs, float32, first axis B, from those of the module.

        Where features hold several texts ("input_ids" a list of arrays, in batches [B, C, L]), the
        module sees [B · C, L]; this method restores [B, C, …].
        """

    @abc.abstractmethod
    def cut(self, outputs: FeatureOutputs, feature: Feature) -> FeatureOutputs:
        """The outputs of one feature without those of padding."""

    # Loss.

    @abc.abstractmethod
    def row_losses(self, outputs: Outputs, batch: Batch, settings: LossSettings) -> jax.Array:
        """The loss of each row, float32 [B] (or of each of its words: [B, W]), not yet weighted.

        Where it depends on other rows (`whole_batch`), rows with batch["weight"] 0 are padding and
        must not count.
        """

    @abc.abstractmethod
    def divergence(self, one: Outputs, other: Outputs) -> jax.Array:
        """The divergence of two passes with different dropout (R-Drop), like `row_losses`: half the
        sum of both Kullback-Leibler divergences where the outputs are a distribution."""

    def row_weights(self, batch: Batch, settings: LossSettings) -> jax.Array:
        """The weight of each row (or word) in the mean, like `row_losses`."""
        return batch["weight"]

    def targets(self, batch: Batch) -> jax.Array | None:
        """The right index into the last axis of outputs["logits"], like `row_losses`, for the
        accuracy that training logs; None: no accuracy."""
        return None

    # Did a run learn anything?

    @abc.abstractmethod
    def constant_loss(
        self, examples: Sequence[Any], target_range: tuple[float, float]
    ) -> float | None:
        """The mean loss of the best constant answer; None where the kind has no such answer."""

    @abc.abstractmethod
    def better_than_chance(
        self, examples: Sequence[Any], predictions: Predictions, scores: Mapping[str, float]
    ) -> bool:
        """Whether the answers alone show that the run learned, whatever its training loss, which is
        the mean of few steps and noisy where a label is rare."""

    @abc.abstractmethod
    def not_learned(
        self,
        examples: Sequence[Any],
        predictions: Predictions,
        scores: Mapping[str, float],
        learnt: bool | None,
    ) -> str | None:
        """Why the answers show that the run did not learn; None where they do not. `learnt`:
        whether the training loss is below a constant answer's (None: unknown)."""

    @abc.abstractmethod
    def errors(
        self, examples: Sequence[Any], predictions: Predictions, labels: Sequence[str]
    ) -> list[Block]:
        """Blocks for the report (`reporting.blocks`) that show the errors."""

    def class_scores(
        self, codec: Codec, examples: Sequence[Any], predictions: Predictions
    ) -> ClassScores:
        """Precision, recall and F1 by class; {} where the kind has no classes."""
        return {}

    def mistake(self, example: Any, answer: Mapping[str, Any]) -> Mistake | None:
        """What the report shows of a wrong answer; None of a right one, or where the kind shows
        none."""
        return None

    # Export, and a start from an exported head.

    def exported(
        self, params: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """(parameters, fields of config.json) as `transformers` computes the same head."""
        return params, settings

    def same_scale(self, stated: Mapping[str, Any], settings: CodecSettings) -> bool:
        """Whether outputs of a model with codec settings `stated` have the same unit as here."""
        return True

    def kept_head(
        self,
        head: dict[str, np.ndarray],
        stated: Mapping[str, Any],
        names: tuple[str, ...],
        labels: tuple[str, ...],
        settings: CodecSettings,
    ) -> dict[str, np.ndarray] | None:
        """The head (a flat tree) of the model that a run starts from, converted to this task; None
        where it is for another. `stated` are its codec settings, `names` its labels."""
        return head if names == labels else None


class HuggingFaceKind(Kind):
    """A kind whose head `transformers` has: `huggingface` names it."""

    def network(self, config: ElectraConfig, outputs: int, dropout_rate: float) -> nn.Module:
        """The class of `transformers`."""
        assert self.huggingface is not None, f"{type(self).__name__}.huggingface"
        return FineTuned(config, self.huggingface, outputs, dropout_rate)
