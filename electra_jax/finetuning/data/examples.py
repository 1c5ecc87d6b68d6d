"""Types shared by readers, codecs, training and prediction: examples, features, codecs."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.finetuning.data.values import Missing

# One encoded sequence. "input_ids" and "token_type_ids" are int32 [n] (multiple choice: lists of
# such arrays, one a choice); the codec of the kind documents its other entries.
Feature = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """`where` is "file:line", for messages; `id` identifies the prediction."""

    where: str
    id: str

    def missing_labels(self) -> tuple[str, ...]:
        """The labels that say that there is none, as the data writes them."""
        return ()

    def as_classes(self, values: Collection[str]) -> Example:
        """The same with those of its missing labels as names like any other."""
        return self

    def renamed(self, names: Mapping[str, str]) -> Example:
        """The same with other names for its labels, as far as `names` has them."""
        return self

    @property
    def is_whole(self) -> bool:
        """Whether it is left out as a whole where a label is missing."""
        return True


@dataclasses.dataclass(frozen=True, slots=True)
class BadExample(Example):
    """A line that could not be read, in its place among the examples (lenient reading)."""

    error: UserError


@dataclasses.dataclass(frozen=True, slots=True)
class TextExample(Example):
    """One or two texts. `label` is a label's name, a tuple of names (multi-label), a float
    (regression) or None where the data has none."""

    texts: tuple[str, ...]
    label: str | tuple[str, ...] | float | None = None

    def missing_labels(self) -> tuple[str, ...]:
        return (str(self.label),) if isinstance(self.label, Missing) else ()

    def as_classes(self, values: Collection[str]) -> TextExample:
        return dataclasses.replace(self, label=str(self.label)) if values else self

    def renamed(self, names: Mapping[str, str]) -> TextExample:
        if isinstance(self.label, tuple):
            return dataclasses.replace(self, label=tuple(names.get(n, n) for n in self.label))
        if isinstance(self.label, str):
            return dataclasses.replace(self, label=names.get(self.label, self.label))
        return self


@dataclasses.dataclass(frozen=True, slots=True)
class TaggedExample(Example):
    """Words and their tags (None where the data has none). For running text, also the `text` and
    the words' [start, end) characters in it."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None
    text: str | None = None
    offsets: tuple[tuple[int, int], ...] = ()

    def missing_labels(self) -> tuple[str, ...]:
        return tuple(str(tag) for tag in self.tags or () if isinstance(tag, Missing))

    def as_classes(self, values: Collection[str]) -> TaggedExample:
        tags = tuple(str(tag) if tag in values else tag for tag in self.tags or ())
        return dataclasses.replace(self, tags=tags)

    @property
    def is_whole(self) -> bool:
        """False: the words that have a tag are left."""
        return False


@dataclasses.dataclass(frozen=True, slots=True)
class ChoiceExample(Example):
    """A question (or dialogue) with candidate answers; `label` is the right one's index.
    `question` is "" unless there is one about a passage, the `context`."""

    context: str
    choices: tuple[str, ...]
    label: int | None = None
    question: str = ""

    def missing_labels(self) -> tuple[str, ...]:
        return ("none",) if self.label is None else ()


@dataclasses.dataclass(frozen=True, slots=True)
class QuestionExample(Example):
    """A question about a text. `answers` are (text, character offset into `context`) pairs; none
    for an unanswerable question or unlabelled data."""

    question: str
    context: str
    answers: tuple[tuple[str, int], ...] = ()
    is_impossible: bool = False


@dataclasses.dataclass(frozen=True)
class CodecSettings:
    """How texts become features: `data.*` of the configuration.

    `target_range` (least, greatest) scales regression targets to 0 … 1 within the network, as the
    reference does with STS-B's (0, 5); (0, 1) leaves them unchanged. `tagging` is "standard", or
    "reference" for its token type 1 and its word pieces of Chinese words ("##京"). `threshold` is
    the multi-label decision threshold. A question has no answer where its null odds exceed
    `null_threshold` (None: the head's own).
    """

    max_length: int = 128
    double_unordered: bool = False
    target_range: tuple[float, float] = (0.0, 1.0)
    tagging: str = "standard"
    threshold: float = 0.5
    doc_stride: int = 128
    max_query_length: int = 64
    max_answer_length: int = 30
    n_best: int = 20
    on_bad_answer: str = "fail"
    null_threshold: float | None = None


class Codec(abc.ABC):
    """Features and answers of a task over one tokenizer and one set of labels, without the network.

    Attributes:
      labels: names in the order of their ids; () where the kind has none.
      metric: the score by which runs and checkpoints are compared; higher is better.
    """

    labels: tuple[str, ...] = ()
    metric: str

    @property
    def truncated(self) -> int:
        """Number of texts encoded so far that were truncated."""
        return 0

    @property
    def missed_words(self) -> int:
        """Number of their words that get no prediction."""
        return 0

    @property
    def lost_entities(self) -> int:
        """Number of texts encoded so far in which one of the two marked entities was cut away."""
        return 0

    def expand(self, examples: Iterable[Any]) -> Iterator[Any]:
        """The examples to train on; by default each once."""
        yield from examples

    @abc.abstractmethod
    def encode(self, example: Any, train: bool) -> list[Feature]:
        """The example's features: one, or one a window (question answering).

        With `train` they include the label, and `[]` means that the example cannot be trained on.
        """

    @abc.abstractmethod
    def decode(
        self,
        example: Any,
        features: Sequence[Feature],
        outputs: Sequence[Mapping[str, np.ndarray]],
    ) -> dict[str, Any]:
        """The answer to one example as JSON-ready values, from the head's outputs for each of its
        features (padding already cut off)."""

    @abc.abstractmethod
    def score(
        self, examples: Sequence[Any], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """The task's official metrics, in percent where the official script gives percent."""
