"""The codec of tagging: a tag a word, from the word's first piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.finetuning import metrics
from electra_jax.finetuning.encoding import softmax
from electra_jax.finetuning.examples import CodecSettings, Feature, TaggedExample
from electra_jax.finetuning.readers import unknown_label
from electra_jax.finetuning.spans import OUTSIDE, find_spans, is_span_tag
from electra_jax.finetuning.tasks import Task
from electra_jax.finetuning.words import is_wide, join_words
from electra_jax.text.tokenizer import Tokenizer

Outputs = Mapping[str, np.ndarray]
SPACE_MARK = "\u2581"  # SentencePiece's


class TagCodec:
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
            remedy = (
                "write the names of the tags in place of their numbers"
                if wrong.isdecimal()
                else "use the task tagging or pos for one tag a word"
            )
            raise UserError(
                f'the tag "{wrong}" marks no span (B-X, I-X, O and the like), which the task '
                f"{task.name} scores; {remedy}"
            )
        if settings.tagging not in ("standard", "reference"):
            raise UserError(f"data.tagging={settings.tagging}: give standard or reference")
        reference = settings.tagging == "reference"
        self._token_type = 1 if reference else 0
        self._tokenizer = tokenizer.with_whole_chinese_words() if reference else tokenizer
        self._ids = {label: i for i, label in enumerate(labels)}
        self._space = self._tokenizer.id_of(SPACE_MARK)

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
        self, example: TaggedExample, features: Sequence[Feature], outputs: Sequence[Outputs]
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
