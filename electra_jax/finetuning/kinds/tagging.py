"""Tagging: one tag for each word, predicted at its first word piece."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from electra_jax.config.finetuning import LossSettings
from electra_jax.errors import UserError
from electra_jax.finetuning.chance import ENOUGH, LEAST_SURE, Comparison, entropy_of
from electra_jax.finetuning.confusions import confusions
from electra_jax.finetuning.data.conll import read_conll
from electra_jax.finetuning.data.examples import (
    Codec,
    CodecSettings,
    Example,
    Feature,
    TaggedExample,
)
from electra_jax.finetuning.data.published import sentences_of_rows, tagged_spans
from electra_jax.finetuning.data.records import (
    CONLL_FORMATS,
    NUMBERED,
    BadRecord,
    Record,
    format_of,
)
from electra_jax.finetuning.data.sources import Source, text_of
from electra_jax.finetuning.data.values import (
    Missing,
    list_of,
    looks_like_list,
    missing_label,
    name_of,
)
from electra_jax.finetuning.data.word_rows import read_word_rows
from electra_jax.finetuning.data.words import (
    is_blank,
    join_words,
    split_words,
)
from electra_jax.finetuning.kinds import tag_baseline
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
from electra_jax.finetuning.kinds.tag_codec import IGNORED_TAG, TagCodec, no_span_tag
from electra_jax.finetuning.losses import categorical_divergence, cross_entropy
from electra_jax.finetuning.metrics.per_class import ClassScores
from electra_jax.finetuning.metrics.spans import OUTSIDE, find_spans, is_span_tag, write_tags
from electra_jax.finetuning.task import Task
from electra_jax.modeling.heads.huggingface import TOKEN
from electra_jax.modeling.heads.reference import TAGGING, at_positions
from electra_jax.text.tokenizers.tokenizer import Tokenizer

_WORDS = ("tokens", "words", "form", "text", "sentence")
_WORD_LISTS = ("tokens", "words", "form")  # their strings have a space between any two words
TAGS = ("tags", "labels", "slots", "tag")


class Tagging(HuggingFaceKind):
    """A tag for each word: "logits" [B, W, C], "word_positions" and "tags" int32 [B, W]."""

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
        """The sentences of CoNLL files and of tables with a word a row, with columns already
        resolved; else as other kinds."""
        if format_of(path) in CONLL_FORMATS:
            return read_conll(path, columns, labelled, task.labels), {}
        if found := read_word_rows(path, columns, labelled, task.headerless != NUMBERED):
            return found, {}
        records, columns = super().records(task, path, columns, labelled, **more)
        sentences = sentences_of_rows(records, labelled)
        return _with_words(sentences, labelled, **more), columns

    def example(self, source: Source, where: str, identity: str, record: Record) -> Example:
        """Words and tags; in data to predict also running text, which is split into words."""
        column = source.columns.get("words", "")
        running = column not in _WORD_LISTS and source.columns.get("tags") not in record
        value = record.get(column)
        if (
            not source.labelled
            and running
            and isinstance(value, str)
            and not looks_like_list(value)
        ):
            text = text_of(value, column, where)
            spans = tuple(split_words(text))
            return TaggedExample(
                where, identity, tuple(text[a:b] for a, b in spans), None, text, spans
            )
        words = _words(source.value("words", where, record), where)
        if not any(word.strip() for word in words):
            raise UserError(f"{where}: there are no words; remove or mend the line")
        if not source.labelled:
            return TaggedExample(where, identity, words)
        tags = _tags(source.value("tags", where, record), source.task, where)
        if len(words) != len(tags):
            raise UserError(
                f"{where} has {len(words)} words and {len(tags)} tags; each word needs one tag"
            )
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
        """The tags of the words that have one."""
        return [tag for tag in example.tags or () if not isinstance(tag, Missing)]

    def labels(self, task: Task, examples: Iterable[Any]) -> tuple[str, ...]:
        """All tags in the data; with a scheme, also those that it writes for spans of other
        lengths, so that a longer span is no unknown label."""

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
        """The logits at each word's first word piece."""
        return {"logits": at_positions(found, batch["word_positions"])}

    def cut(self, outputs: FeatureOutputs, feature: Feature) -> FeatureOutputs:
        """The outputs without padded words."""
        return {"logits": outputs["logits"][: len(feature["word_positions"])]}

    def row_losses(self, outputs: Outputs, batch: Batch, settings: LossSettings) -> jax.Array:
        """Cross entropy of each word, [B, W]."""
        tags = jnp.maximum(batch["tags"], 0)
        return cross_entropy(outputs["logits"], tags, settings.label_smoothing)

    def row_weights(self, batch: Batch, settings: LossSettings) -> jax.Array:
        """1 or the tag's weight; 0 for padding, [B, W]."""
        tagged = (batch["tags"] != IGNORED_TAG).astype(jnp.float32) * batch["weight"][:, None]
        if settings.class_weights is None:
            return tagged
        return tagged * jnp.asarray(settings.class_weights)[jnp.maximum(batch["tags"], 0)]

    def divergence(self, one: Outputs, other: Outputs) -> jax.Array:
        """Symmetric divergence of two softmaxes, [B, W]."""
        return categorical_divergence(one["logits"], other["logits"])

    def targets(self, batch: Batch) -> jax.Array | None:
        """The tags."""
        return batch["tags"]

    def constant_loss(
        self, examples: Sequence[TaggedExample], target_range: tuple[float, float]
    ) -> float | None:
        """The entropy of the tags of words that can be seen."""
        return entropy_of(
            tag
            for e in examples
            for word, tag in zip(e.words, e.tags or (), strict=False)
            if not is_blank(word) and not isinstance(tag, Missing)
        )

    def better_than_chance(
        self,
        examples: Sequence[TaggedExample],
        predictions: Predictions,
        scores: Mapping[str, float],
    ) -> bool:
        """The task's score is far above a constant answer's."""
        if len(examples) < ENOUGH:
            return False
        found = self._compared(examples, predictions, scores)
        return found is not None and found.surely_beaten

    def not_learned(
        self,
        examples: Sequence[TaggedExample],
        predictions: Predictions,
        scores: Mapping[str, float],
        learnt: bool | None,
    ) -> str | None:
        """One tag for all words, or a score that is no better than without entities or with one
        tag for all words."""
        gold = {t for e in examples for t in self.labels_of(e)}
        tags = {t for p in predictions for t in p["tags"] if t is not None}
        if len(gold) > 1 and len(tags) == 1:
            return f'it tags every word "{next(iter(tags))}"'
        found = self._compared(examples, predictions, scores) if len(gold) > 1 else None
        if found is None or found.beaten or (learnt and len(examples) < ENOUGH):
            return None
        if tag_baseline.marks_spans(examples, scores):
            beside = found.constant and f", where one tag for all words has {found.constant:.1f}"
            return f"the F1 of its entities is {found.score:.1f}{beside or ''}"
        if tag_baseline.associated(examples, predictions) >= LEAST_SURE:
            return None  # it knows rare tags, at the cost of the commonest
        return (
            f"{found.score:.1f} % of its tags are right, where one tag for all words has "
            f"{found.constant:.1f} %"
        )

    def _compared(
        self,
        examples: Sequence[TaggedExample],
        predictions: Predictions,
        scores: Mapping[str, float],
    ) -> Comparison | None:
        if not any(map(self.labels_of, examples)):
            return None
        if tag_baseline.marks_spans(examples, scores):
            return tag_baseline.compare_spans(examples, predictions)
        return tag_baseline.compare_tags(examples, predictions)

    def errors(
        self, examples: Sequence[TaggedExample], predictions: Predictions, labels: Sequence[str]
    ) -> list[Block]:
        """The confusions between tags, of the words that fitted."""
        pairs = [
            (true, found)
            for e, p in zip(examples, predictions, strict=True)
            for true, found in zip(e.tags or (), p["tags"], strict=True)
            if found is not None and not isinstance(true, Missing)
        ]
        return confusions(pairs, labels)

    def class_scores(
        self, codec: Codec, examples: Sequence[TaggedExample], predictions: Predictions
    ) -> ClassScores:
        """Of each type of span, or of each tag."""
        assert isinstance(codec, TagCodec)
        return codec.class_scores(examples, predictions)

    def mistake(self, example: TaggedExample, answer: Mapping[str, Any]) -> Mistake | None:
        """The more words are wrong, the worse; those are shown with their tags."""
        pairs = zip(example.words, example.tags or (), answer["tags"])
        wrong = [(w, t, a) for w, t, a in pairs if not (a in (None, t) or isinstance(t, Missing))]
        sides = (", ".join(f"{x[0]} {x[i]}" for x in wrong[:8]) for i in (1, 2))
        words = example.text or join_words(example.words)
        return Mistake(float(len(wrong)), words, *sides) if wrong else None


def _words(value: Any, where: str) -> tuple[str, ...]:
    """A list of strings (numbers become strings), or a string of them with spaces between."""
    return tuple(map(str, _listed(value, "words", where, (str, int))))


def _tags(value: Any, task: Task, where: str) -> tuple[str, ...]:
    """The same of tags, in the task's scheme; `Missing` where there is none."""
    known = task.labels or ()
    given = _listed(value, "tags", where, (str, int, float, type(None)))
    missing = [None if str(item) in known else missing_label(item) for item in given]
    names = [name_of(item, False) or OUTSIDE for item in given]
    tags = [OUTSIDE if m is not None else name for m, name in zip(missing, names, strict=True)]
    if task.spans:
        for tag in tags:
            if not is_span_tag(tag):
                raise UserError(f"{where}: {no_span_tag(tag, task)}")
    if task.tag_scheme != "given":
        tags = write_tags(find_spans(tags), len(tags), task.tag_scheme)
    return tuple(tag if m is None else m for m, tag in zip(missing, tags, strict=True))


def _listed(value: Any, role: str, where: str, types: tuple[type, ...]) -> Sequence[Any]:
    value = list_of(value, role, where)
    if isinstance(value, str):
        return re.findall(r"[^ \t\r\n]+", value)
    if not isinstance(value, list) or not all(type(item) in types for item in value):
        raise UserError(
            f"{where}: {role} must be a list of strings, or a string with spaces between them; it "
            f"holds {json.dumps(value, ensure_ascii=False)[:60]}"
        )
    return value


def _with_words(
    records: Iterator[tuple[str, Record]], labelled: bool, lenient: bool = False
) -> Iterator[tuple[str, Record]]:
    """The records; those with spans of characters have words and tags in their place."""
    for where, record in records:
        try:
            read = tagged_spans(record, where, labelled)
        except UserError as error:
            if not lenient:
                raise
            read = BadRecord(error)
        yield where, read
