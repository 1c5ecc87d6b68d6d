"""Relations: one label for two marked entities of a text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from electra_jax.errors import UserError
from electra_jax.finetuning.data.encoding import Ids
from electra_jax.finetuning.data.entity_marks import MARKS, mark_entities, mark_spans
from electra_jax.finetuning.data.examples import CodecSettings, Example, TextExample
from electra_jax.finetuning.data.records import Record
from electra_jax.finetuning.data.sources import Source, label_of, texts_of, value_of
from electra_jax.finetuning.data.values import list_of, structure_of
from electra_jax.finetuning.kinds.classification import Classification, ClassificationCodec
from electra_jax.finetuning.kinds.text import SINGLE
from electra_jax.finetuning.task import Task
from electra_jax.text.tokenizers.tokenizer import Tokenizer


class RelationCodec(ClassificationCodec):
    """One label for two marked entities of a text. A text that does not fit is cut on both sides,
    to keep both entities where they fit together."""

    lost_entities = 0

    def __init__(
        self, task: Task, tokenizer: Tokenizer, settings: CodecSettings, labels: tuple[str, ...]
    ):
        super().__init__(task, tokenizer, settings, labels)
        self._marks = [tokenizer.encode(mark)[-1] for mark in MARKS]

    def _parts(self, texts: Sequence[str]) -> list[Ids]:
        (ids,) = super()._parts(texts)
        room = self.settings.max_length - 2
        marks = np.flatnonzero(np.isin(ids, self._marks))
        if len(ids) <= room or not marks.size or marks[-1] < room:
            return [ids]
        first, last = int(marks[0]), int(marks[-1])
        spare = room - (last + 1 - first)
        self.lost_entities += spare < 0
        return [ids[min(first - max(spare, 0) // 2, len(ids) - room) :]]


class Relation(Classification):
    """A classification of a text whose two entities are marked (`entity_marks`)."""

    name = "relation"
    codec_class = RelationCodec
    texts = SINGLE
    metrics = ("macro_f1", "accuracy")
    roles: ClassVar = {
        "label": ("label", "relation"),
        "head": ("head", "e1"),
        "tail": ("tail", "e2"),
    }

    def example(self, source: Source, where: str, identity: str, record: Record) -> Example:
        """The text with its marks, and the label's name."""
        (text,) = texts_of(source, where, record)[:1]
        if source.plays("head", record) or source.plays("tail", record):
            column = source.texts[0]
            given = value_of(record, column, "text", where)
            if column in ("tokens", "words"):
                given = list_of(given, column, where)
            words = given if isinstance(given, list) else None
            spans = [
                _span(source.value(r, where, record), r, text, where, words)
                for r in ("head", "tail")
            ]
            text = mark_spans(text, spans[0], spans[1])
        else:
            text = mark_entities(text, where)
        return TextExample(where, identity, (text,), label_of(source, where, record))

    def given(self, texts: tuple[str, ...], where: str) -> tuple[str, ...]:
        """The first text with its marks."""
        return (mark_entities(texts[0], where),)


def _span(
    value: Any, role: str, text: str, where: str, words: Sequence[str] | None
) -> tuple[int, int]:
    """[start, end) in characters, from [start, end] or an object with `span` or `start`, `end`;
    these count words where the text is a list of `words`."""
    unit, count = ("characters", len(text)) if words is None else ("words", len(words))
    span = value = structure_of(value)
    if isinstance(value, Mapping):
        span = value.get("span", [value.get("start"), value.get("end")])
    whole = isinstance(span, list) and len(span) == 2 and all(type(x) is int for x in span)
    if not whole or not 0 <= span[0] < span[1] <= count:
        raise UserError(
            f"{where}: {role} must have a span [start, end) of {unit} within the text "
            f"({count} {unit}); it holds {json.dumps(value, ensure_ascii=False)[:80]}"
        )
    start, end = span
    if words is not None:
        start, length = sum(len(w) + 1 for w in words[:start]), len(" ".join(words[start:end]))
        end = start + length
    inside = text[start:end]
    if isinstance(value, Mapping) and value.get("text", inside) != inside:
        raise UserError(
            f'{where}: {role} says "{value["text"]}", but {unit} {span[0]} to {span[1]} of the '
            f'text are "{inside}"; offsets count {unit} from 0'
        )
    return start, end
