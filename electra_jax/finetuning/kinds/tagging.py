"""Tagging: a tag a word, from the word's first piece."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.finetuning import LossSettings
from electra_jax.errors import UserError
from electra_jax.finetuning.chance import entropy_of
from electra_jax.finetuning.confusions import confusions
from electra_jax.finetuning.data.encoding import softmax
from electra_jax.finetuning.data.examples import (
    Codec,
    CodecSettings,
    Example,
    Feature,
    TaggedExample,
)
from electra_jax.finetuning.data.records import CONLL_FORMATS, Record, format_of, read_conll
from electra_jax.finetuning.data.sources import Source, text_of, unknown_label
from electra_jax.finetuning.data.words import is_wide, join_words, split_words
from electra_jax.finetuning.kinds.base import (
    Batch,
    Block,
    FeatureOutputs,
    HuggingFaceKind,
    Mistake,
    Outputs,
    Padding,
    Predictions,
)
from electra_jax.finetuning.kinds.labels import labels_in, natural_order
from electra_jax.finetuning.losses import categorical_divergence, cross_entropy
from electra_jax.finetuning.metrics import classification as metrics
from electra_jax.finetuning.metrics.per_class import ClassScores, tag_scores
from electra_jax.finetuning.metrics.spans import OUTSIDE, find_spans, is_span_tag, write_tags
from electra_jax.finetuning.task import Task
from electra_jax.modeling.heads.huggingface import TOKEN
from electra_jax.modeling.heads.reference import TAGGING, at_positions
from electra_jax.text.tokenizers.tokenizer import Tokenizer

IGNORED_TAG = -1
SPACE_MARK = "\u2581"  # SentencePiece's
_WORDS = ("tokens", "words", "form", "text", "sentence")
_WORD_LISTS = ("tokens", "words", "form")  # their strings have a space between any two words
TAGS = ("tags", "labels", "slots", "tag")


class Tagging(HuggingFaceKind):
    """A tag a word: "logits" [B, W, C], "word_positions" and "tags" int32 [B, W]."""

    name = "tagging"
    metrics = ("f1", "precision", "recall", "accuracy")
    max_length = 256
    roles: ClassVar = {"words": _WORDS, "tags": TAGS}
    fields: ClassVar = {"tags": Padding(fill=IGNORED_TAG)}
    huggingface = TOKEN
    reference = TAGGING
    answer = "tags"

    def records(
        self, task: Task, path: str, columns: Mapping[str, str], labelled: bool, **more: bool
    ) -> tuple[Iterator[tuple[str, Record]], Mapping[str, str]]:
        """Of CoNLL files the sentences, whose columns are found by then."""
        if format_of(path) in CONLL_FORMATS:
            return read_conll(path, columns, labelled), {}
        return super().records(task, path, columns, labelled, **more)

    def example(self, source: Source, where: str, identity: str, record: Record) -> Example:
        """Words and tags; of data to predict also running text, which is divided into words."""
        column = source.columns.get("words", "")
        running = column not in _WORD_LISTS and source.columns.get("tags") not in record
        if not source.labelled and running and isinstance(record.get(column), str):
            text = text_of(record[column], column, where)
            spans = tuple(split_words(text))
            return TaggedExample(
                where, identity, tuple(text[a:b] for a, b in spans), None, text, spans
            )
        words = _strings(source.value("words", where, record), "words", where)
        if not any(word.strip() for word in words):
            raise UserError(f"{where}: there are no words; remove or mend the line")
        if not source.labelled:
            return TaggedExample(where, identity, words)
        tags = _strings(source.value("tags", where, record), "tags", where)
        if len(words) != len(tags):
            raise UserError(
                f"{where} has {len(words)} words and {len(tags)} tags; each word needs one tag"
            )
        if not all(tag.strip() for tag in tags):
            empty = next(i for i, tag in enumerate(tags) if not tag.strip())
            raise UserError(
                f'{where}: the tag of word {empty} ("{words[empty]}") is empty; fill it'
            )
        scheme = source.task.tag_scheme
        if scheme != "given":
            try:
                tags = tuple(write_tags(find_spans(tags), len(tags), scheme))
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
        return TaggedExample(where, identity, words, tags)

    def input(
        self,
        task: Task,
        value: Any,
        where: str,
        number: int,
        columns: Mapping[str, str],
        usual: Mapping[str, str],
    ) -> Example:
        """A text, a list of words, or a mapping."""
        if isinstance(value, Mapping):
            return super().input(task, value, where, number, columns, usual)
        words = {"text": value} if isinstance(value, str) else {"words": list(value)}
        return super().input(task, words, where, number, {}, {})

    def codec(
        self,
        task: Task,
        tokenizer: Tokenizer,
        settings: CodecSettings,
        labels: tuple[str, ...],
        head: str,
    ) -> Codec:
        """`TagCodec`."""
        return TagCodec(task, tokenizer, settings, labels)

    def labels_of(self, example: TaggedExample) -> Sequence[str]:
        """The tags."""
        return example.tags or ()

    def labels(self, task: Task, examples: Iterable[Any]) -> tuple[str, ...]:
        """All that occur; with a scheme, all that it can write: one word more in a span is another
        tag, never another label."""

        def written(example: TaggedExample) -> Iterator[str]:
            for tag in self.labels_of(example):
                yield tag
                if task.tag_scheme != "given" and tag[1:2] == "-":
                    yield from (f"{letter}-{tag[2:]}" for letter in "BIES")

        return natural_order(labels_in(examples, written))

    def without_texts(self, example: TaggedExample) -> TaggedExample:
        """The tags alone."""
        return dataclasses.replace(example, words=(), text=None, offsets=())

    def outputs(self, found: Any, batch: Batch) -> Outputs:
        """The logits at each word's first piece."""
        return {"logits": at_positions(found, batch["word_positions"])}

    def cut(self, outputs: FeatureOutputs, feature: Feature) -> FeatureOutputs:
        """The words that there are."""
        return {"logits": outputs["logits"][: len(feature["word_positions"])]}

    def row_losses(self, outputs: Outputs, batch: Batch, settings: LossSettings) -> jax.Array:
        """Cross entropy of each word, [B, W]."""
        tags = jnp.maximum(batch["tags"], 0)
        return cross_entropy(outputs["logits"], tags, settings.label_smoothing)

    def row_weights(self, batch: Batch, settings: LossSettings) -> jax.Array:
        """1, or the tag's weight; 0 where there is no word, [B, W]."""
        tagged = (batch["tags"] != IGNORED_TAG).astype(jnp.float32) * batch["weight"][:, None]
        if settings.class_weights is None:
            return tagged
        return tagged * jnp.asarray(settings.class_weights)[jnp.maximum(batch["tags"], 0)]

    def divergence(self, one: Outputs, other: Outputs) -> jax.Array:
        """Of two softmaxes, [B, W]."""
        return categorical_divergence(one["logits"], other["logits"])

    def targets(self, batch: Batch) -> jax.Array | None:
        """The tags."""
        return batch["tags"]

    def constant_loss(
        self, examples: Sequence[TaggedExample], target_range: tuple[float, float]
    ) -> float | None:
        """The entropy of the tags."""
        return entropy_of(tag for e in examples for tag in e.tags or ())

    def better_than_chance(
        self,
        examples: Sequence[TaggedExample],
        predictions: Predictions,
        scores: Mapping[str, float],
    ) -> bool:
        """Never said: most words have the commonest tag, and neighbours go together."""
        return False

    def not_learned(
        self,
        examples: Sequence[TaggedExample],
        predictions: Predictions,
        scores: Mapping[str, float],
        learnt: bool | None,
    ) -> str | None:
        """One tag for all words."""
        tags = {t for p in predictions for t in p["tags"] if t is not None}
        if len(tags) == 1 and len({t for e in examples for t in e.tags or ()}) > 1:
            return f'it tags every word "{next(iter(tags))}"'
        return None

    def errors(
        self, examples: Sequence[TaggedExample], predictions: Predictions, labels: Sequence[str]
    ) -> list[Block]:
        """Which tags are taken for which, of the words that fitted."""
        pairs = [
            (true, said)
            for e, p in zip(examples, predictions, strict=True)
            for true, said in zip(e.tags or (), p["tags"], strict=True)
            if said is not None
        ]
        return confusions(pairs, labels)

    def class_scores(
        self, codec: Codec, examples: Sequence[TaggedExample], predictions: Predictions
    ) -> ClassScores:
        """Of each type of span, or of each tag."""
        assert isinstance(codec, TagCodec)
        gold, predicted = [e.tags or () for e in examples], [p["tags"] for p in predictions]
        return tag_scores(gold, predicted, codec.spans)

    def mistake(self, example: TaggedExample, answer: Mapping[str, Any]) -> Mistake | None:
        """The more words are wrong, the worse; those are shown with their tags."""
        pairs = zip(example.words, example.tags or (), answer["tags"])
        wrong = [(w, t, a) for w, t, a in pairs if a is not None and a != t]
        sides = (", ".join(f"{x[0]} {x[i]}" for x in wrong[:8]) for i in (1, 2))
        words = example.text or join_words(example.words)
        return Mistake(float(len(wrong)), words, *sides) if wrong else None


def _strings(value: Any, role: str, where: str) -> tuple[str, ...]:
    """A list of strings (numbers become strings), or a string of them with spaces between."""
    if isinstance(value, str):
        return tuple(re.findall(r"[^ \t\r\n]+", value))
    if not isinstance(value, list) or not all(type(item) in (str, int) for item in value):
        raise UserError(
            f"{where}: {role} must be a list of strings, or a string with spaces between them; it "
            f"holds {json.dumps(value, ensure_ascii=False)[:60]}"
        )
    return tuple(map(str, value))


class TagCodec(Codec):
    """A tag a word, predicted from the word's first piece.

    Words go through the tokenizer one by one and keep the casing that it gives them. A word
    without pieces (nothing but a zero-width space) is predicted at the next word's first piece, or
    at [SEP], as in the reference. A sentence is one feature: words that do not fit `max_length`
    are not predicted, count as missed, and are counted; the reference drops them from the gold
    tags too, and begins to cut earlier.

    A Chinese or Japanese character that SentencePiece encodes as a space mark and itself goes in
    without the mark: in running text, as in pretraining, there is no space before it.

    `tagging="reference"`: tokens have type 1, and a word of several Chinese characters becomes
    "東 ##京". The default differs because pretraining, which separates these characters, shows a
    model neither.

    Attributes:
      spans: whether the tags mark spans, which are then what is scored.
    """

    truncated = 0
    missed_words = 0

    def __init__(
        self, task: Task, tokenizer: Tokenizer, settings: CodecSettings, labels: tuple[str, ...]
    ):
        self.task = task
        self.settings = settings
        self.labels = labels
        marks_spans = all(map(is_span_tag, labels))
        self.spans = marks_spans if task.spans is None else task.spans
        if self.spans and not marks_spans:
            wrong = next(label for label in labels if not is_span_tag(label))
            remedy = (
                "write the names of the tags in place of their numbers"
                if wrong.isdecimal()
                else "use the task tagging or pos for one tag a word"
            )
            raise UserError(
                f'the tag "{wrong}" marks no span (B-X, I-X, O and the like), which the task '
                f"{task.name} scores; {remedy}"
            )
        self.metric = task.metric if self.spans else "accuracy"
        if settings.tagging not in ("standard", "reference"):
            raise UserError(f"data.tagging={settings.tagging}: give standard or reference")
        reference = settings.tagging == "reference"
        self._token_type = 1 if reference else 0
        self._tokenizer = tokenizer.with_whole_chinese_words() if reference else tokenizer
        self._ids = {label: i for i, label in enumerate(labels)}
        self._space = self._tokenizer.id_of(SPACE_MARK)

    def encode(self, example: TaggedExample, train: bool) -> list[Feature]:
        """One feature: "input_ids", "token_type_ids" int32 [n]; "word_positions" int32 [words that
        fit]: where each word's first piece is; with `train`, "tags" int32 [words that fit]."""
        special = self._tokenizer.special_ids
        pieces, counts = self._pieces(example.words)
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

    def _pieces(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all words in a row, and how many each has."""
        pieces, counts = self._tokenizer.encode_flat(words)
        if self._space is None:
            return pieces, counts
        starts = np.cumsum(counts) - counts
        wide = np.array([bool(word) and is_wide(word[0]) for word in words])
        marked = wide & (counts > 1)
        marked[marked] = pieces[starts[marked]] == self._space
        return np.delete(pieces, starts[marked]), counts - marked

    def _id(self, example: TaggedExample, tag: str) -> int:
        if tag not in self._ids:
            raise unknown_label(example.where, tag, self.labels)
        return self._ids[tag]

    def decode(
        self,
        example: TaggedExample,
        features: Sequence[Feature],
        outputs: Sequence[Mapping[str, np.ndarray]],
    ) -> dict[str, Any]:
        """{"id", "words", "tags", "probabilities"} and, where tags mark spans, "entities":
        [{"type", "start", "end", "text"}], `start` and `end` (exclusive) counting words; of running
        text also "start_character" and "end_character", and "text" is the original's.

        Tags and probabilities (of the tag) are None for words that did not fit. Outputs: "logits"
        [words that fit, labels].
        """
        probabilities = softmax(outputs[0]["logits"])
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
                {**span._asdict(), **_place(example, span.start, span.end)}
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


def _place(example: TaggedExample, start: int, end: int) -> dict[str, Any]:
    """The text of words [start, end), and where it stands in the original, if that is known."""
    if example.text is None:
        return {"text": join_words(example.words[start:end])}
    first, last = example.offsets[start][0], example.offsets[end - 1][1]
    return {
        "text": example.text[first:last],
        "start_character": first,
        "end_character": last,
    }
