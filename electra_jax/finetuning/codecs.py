"""Examples become features, and a head's outputs become answers and scores: one codec a kind.

A codec belongs to one task, tokenizer and tuple of labels. Question answering has a file of its
own. Nothing here knows the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from electra_jax.errors import UserError
from electra_jax.finetuning import metrics
from electra_jax.finetuning.examples import (
    ChoiceExample,
    Codec,
    CodecSettings,
    Feature,
    TaggedExample,
    TextExample,
)
from electra_jax.finetuning.readers import unknown_label
from electra_jax.finetuning.spans import OUTSIDE, find_spans, is_span_tag
from electra_jax.finetuning.tasks import Task
from electra_jax.text.tokenizer import Tokenizer

Ids = npt.NDArray[np.int32]
Outputs = Mapping[str, np.ndarray]


def make_codec(
    task: Task, tokenizer: Tokenizer, settings: CodecSettings, labels: Sequence[str] = ()
) -> Codec:
    """The codec of a task's kind.

    Args:
      labels: names in the order of their ids (`tasks.collect_labels`); () where the kind has none.

    Raises:
      UserError: a length that holds no text, or labels that the task cannot use.
    """
    if settings.max_length < 8:
        raise UserError(f"data.max_length={settings.max_length} holds no text; give at least 8")
    return _CODECS[task.kind](task, tokenizer, settings, tuple(labels))


def longest_first(first: int, second: int, limit: int) -> tuple[int, int]:
    """What is left of two lengths when tokens are cut, one by one, from the longer until both fit.

    Of two equal ones the second is cut, as in the reference.
    """
    excess = max(first + second - limit, 0)
    ahead = min(excess, abs(first - second))
    if first > second:
        first -= ahead
    else:
        second -= ahead
    rest = excess - ahead
    return first - rest // 2, second - (rest - rest // 2)


class _PairEncoder:
    """[CLS] a [SEP], or [CLS] a [SEP] b [SEP], with token types 0 and 1."""

    def __init__(self, tokenizer: Tokenizer, max_length: int):
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.truncated = 0

    def texts(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of each text, without special tokens."""
        ids, counts = self.tokenizer.encode_flat(texts)
        return np.split(ids, np.cumsum(counts)[:-1])

    def join(self, parts: Sequence[Ids], keep_end: bool = False) -> tuple[Ids, Ids]:
        """(input_ids, token_type_ids), int32 [n], of one or two parts, cut to `max_length`.

        Args:
          keep_end: cut the first part from its beginning.
        """
        special = self.tokenizer.special_ids
        lengths = [len(part) for part in parts]
        limit = self.max_length - 1 - len(parts)
        if sum(lengths) > limit:
            self.truncated += 1
            kept = [limit] if len(parts) == 1 else [*longest_first(lengths[0], lengths[1], limit)]
        else:
            kept = lengths
        first = parts[0][lengths[0] - kept[0] :] if keep_end else parts[0][: kept[0]]
        ids = [special.cls, *first.tolist(), special.sep]
        if len(parts) == 2:
            ids += [*parts[1][: kept[1]].tolist(), special.sep]
        input_ids = np.array(ids, np.int32)
        types = np.zeros_like(input_ids)
        types[kept[0] + 2 :] = 1
        return input_ids, types


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
        self._pairs = _PairEncoder(tokenizer, settings.max_length)

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
        input_ids, types = self._pairs.join(self._pairs.texts(texts))
        feature: Feature = {"input_ids": input_ids, "token_type_ids": types}
        if train:
            feature.update(self._target(example))
        return [feature]

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
        probabilities = _softmax(outputs[0]["logits"])
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


def _softmax(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Over the last axis, in float64."""
    logits = np.asarray(logits, np.float64)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def _sigmoid(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, np.float64)))


class TagCodec:
    """A tag a word, predicted from the word's first piece.

    Words go through the tokenizer one by one and keep the casing that it gives them. A word
    without pieces (nothing but a zero-width space) is predicted at the next word's first piece, or
    at [SEP], as in the reference. A sentence is one feature: words that do not fit `max_length`
    are not predicted, count as missed, and are counted; the reference drops them from the gold
    tags too, and begins to cut earlier.

    `tagging="reference"`: tokens have type 1, and a word of several Chinese characters becomes
    "東 ##京". The default differs because pretraining, which separates these characters, shows a
    model neither.

    Attributes:
      truncated: how many of the sentences encoded so far were cut.
      missed_words: how many words of theirs are not predicted.
      spans: whether the tags mark spans, which are then what is scored.
    """

    def __init__(
        self, task: Task, tokenizer: Tokenizer, settings: CodecSettings, labels: tuple[str, ...]
    ):
        self.task = task
        self.settings = settings
        self.labels = labels
        self.truncated = 0
        self.missed_words = 0
        marks_spans = all(map(is_span_tag, labels))
        self.spans = marks_spans if task.spans is None else task.spans
        if self.spans and not marks_spans:
            wrong = next(label for label in labels if not is_span_tag(label))
            raise UserError(
                f'the tag "{wrong}" marks no span (B-X, I-X, O and the like), which the task '
                f"{task.name} scores; use the task tagging or pos for one tag a word"
            )
        if settings.tagging not in ("standard", "reference"):
            raise UserError(f"data.tagging={settings.tagging}: give standard or reference")
        reference = settings.tagging == "reference"
        self._token_type = 1 if reference else 0
        self._tokenizer = tokenizer.with_whole_chinese_words() if reference else tokenizer
        self._ids = {label: i for i, label in enumerate(labels)}

    @property
    def metric(self) -> str:
        """The score by which runs and checkpoints are compared."""
        return self.task.metric if self.spans else "accuracy"

    def expand(self, examples: Iterable[TaggedExample]) -> Iterator[TaggedExample]:
        """The examples to train on: all, once."""
        yield from examples

    def encode(self, example: TaggedExample, train: bool) -> list[Feature]:
        """One feature: "input_ids", "token_type_ids" int32 [n]; "word_positions" int32 [words that
        fit]: where each word's first piece is; with `train`, "tags" int32 [words that fit]."""
        special = self._tokenizer.special_ids
        pieces, counts = self._tokenizer.encode_flat(example.words)
        room = self.settings.max_length - 2
        starts = 1 + np.cumsum(counts) - counts
        if len(pieces) > room:
            starts = starts[starts <= room]
            self.truncated += 1
            self.missed_words += len(example.words) - len(starts)
        input_ids = np.concatenate([[special.cls], pieces[:room], [special.sep]]).astype(np.int32)
        feature: Feature = {
            "input_ids": input_ids,
            "token_type_ids": np.full_like(input_ids, self._token_type),
            "word_positions": starts.astype(np.int32),
        }
        if train:
            tags = [self._id(example, tag) for tag in (example.tags or ())[: len(starts)]]
            feature["tags"] = np.array(tags, np.int32)
        return [feature]

    def _id(self, example: TaggedExample, tag: str) -> int:
        if tag not in self._ids:
            raise unknown_label(example.where, tag, self.labels)
        return self._ids[tag]

    def decode(
        self, example: TaggedExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> dict[str, Any]:
        """{"id", "words", "tags", "probabilities"} and, where tags mark spans, "entities":
        [{"type", "start", "end", "text"}], `start` and `end` (exclusive) counting words.

        Tags and probabilities (of the tag) are None for words that did not fit. Outputs: "logits"
        [words that fit, labels].
        """
        probabilities = _softmax(outputs[0]["logits"])
        best = probabilities.argmax(-1)
        tags = [self.labels[i] for i in best]
        unseen = [None] * (len(example.words) - len(tags))
        answer: dict[str, Any] = {
            "id": example.id,
            "words": list(example.words),
            "tags": [*tags, *unseen],
            "probabilities": [*probabilities[np.arange(len(best)), best].tolist(), *unseen],
        }
        if self.spans:
            answer["entities"] = [
                {**span._asdict(), "text": join_words(example.words[span.start : span.end])}
                for span in find_spans(tags)
            ]
        return answer

    def score(
        self, examples: Sequence[TaggedExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """F1, precision and recall of spans, and accuracy of words, in percent; without spans the
        accuracy alone; and "missed_words", the number of words that did not fit."""
        gold = [list(example.tags or ()) for example in examples]
        said = [prediction["tags"] for prediction in predictions]
        scores: dict[str, float] = {}
        if self.spans:
            seen = [[OUTSIDE if tag is None else tag for tag in tags] for tags in said]
            overall = metrics.entity_scores(gold, seen)["overall"]
            scores = {"f1": overall.f1, "precision": overall.precision, "recall": overall.recall}
        # "" equals no tag: a word that was not predicted is wrong even where its tag is "O".
        words = [[tag or "" for tag in tags] for tags in said]
        scores["accuracy"] = metrics.token_accuracy(gold, words)
        scores["missed_words"] = float(sum(tags.count(None) for tags in said))
        return scores


def join_words(words: Sequence[str]) -> str:
    """Words with spaces between, except beside Chinese, Japanese kana or full-width characters."""
    text = ""
    for word in words:
        if text and word and not (_is_wide(text[-1]) or _is_wide(word[0])):
            text += " "
        text += word
    return text


def _is_wide(character: str) -> bool:
    code = ord(character)
    return (
        0x2E80 <= code <= 0xA4CF
        or 0xF900 <= code <= 0xFAFF
        or 0xFF00 <= code <= 0xFFEF
        or (0x20000 <= code <= 0x3FFFF)
    )


class ChoiceCodec:
    """One of several continuations: [CLS] context [SEP] choice [SEP] for each.

    The turns of a dialogue (lines of the context, for `ranking`) have [SEP] between them, and the
    oldest are cut first where they do not fit; other contexts are cut from their end.

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
        self._pairs = _PairEncoder(tokenizer, settings.max_length)
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
        pairs = [self._pairs.join((context, choice), keep_end=ranking) for choice in choices]
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
        probabilities = _softmax(np.asarray(outputs[0]["logits"])[: len(example.choices)])
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


_CODECS: dict[str, Callable[[Task, Tokenizer, CodecSettings, tuple[str, ...]], Codec]] = {
    "classification": ClassificationCodec,
    "relation": ClassificationCodec,
    "multilabel": MultilabelCodec,
    "regression": RegressionCodec,
    "tagging": TagCodec,
    "multiple_choice": ChoiceCodec,
    "ranking": ChoiceCodec,
}
