"""Words and tags as features and answers: the codec of tagging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.finetuning.data.encoding import softmax
from electra_jax.finetuning.data.examples import Codec, CodecSettings, Feature, TaggedExample
from electra_jax.finetuning.data.sources import unknown_label
from electra_jax.finetuning.data.values import Missing
from electra_jax.finetuning.data.words import is_blank, is_wide, join_words, with_spaces
from electra_jax.finetuning.kinds import tag_windows
from electra_jax.finetuning.metrics import classification as metrics
from electra_jax.finetuning.metrics.per_class import ClassScores, class_scores, tag_scores
from electra_jax.finetuning.metrics.spans import OUTSIDE, Span, find_spans, is_span_tag
from electra_jax.finetuning.task import Task
from electra_jax.text.tokenizers.tokenizer import Tokenizer

IGNORED_TAG = -1
"""The tag of words that are not in the loss: those without word pieces, and padding."""
NO_PIECE = 0
"""Position of a word without word pieces: that of [CLS], which is no word's."""
SPACE_MARK = "\u2581"  # SentencePiece's


class TagCodec(Codec):
    """A tag for each word, predicted at the word's first word piece.

    Words go through the tokenizer one by one and keep the casing that it gives them. Where spaces
    are parts of tokens (byte-level BPE), words have the spaces of running text. A word without word
    pieces (a space, a zero-width mark) is not in the loss; the answer to it is "O" (without spans
    and such a tag: None), and an entity neither begins nor ends at it nor is divided by it. It
    stays among the gold tags. The reference tags it by the next word's pieces.

    A sentence is one feature in training, where words that do not fit `max_length` are left out and
    counted; the reference begins to cut earlier. To be answered, a longer sentence becomes
    overlapping windows (`tag_windows`); the reference drops the words that do not fit from the gold
    tags too.

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
            raise UserError(no_span_tag(wrong, task))
        self.metric = task.metric if self.spans else "accuracy"
        if settings.tagging not in ("standard", "reference"):
            raise UserError(f"data.tagging={settings.tagging}: give standard or reference")
        reference = settings.tagging == "reference"
        self._token_type = 1 if reference else 0
        self._tokenizer = tokenizer.with_whole_chinese_words() if reference else tokenizer
        self._ids = {label: i for i, label in enumerate(labels)}
        self._no_tag = OUTSIDE if self.spans or OUTSIDE in labels else None
        self._space = self._tokenizer.id_of(SPACE_MARK)
        spaced, bare = (self._tokenizer.encode(text) for text in (" a", "a"))
        self._with_spaces = self._space is None and spaced != bare

    def encode(self, example: TaggedExample, train: bool) -> list[Feature]:
        """One feature, or one a window: "input_ids", "token_type_ids" int32 [n]; "word_positions"
        int32 [words that fit]: where each word's first piece is, NO_PIECE for a word without; with
        `train`, "tags" int32 [words that fit], IGNORED_TAG for a word without."""
        pieces, counts = self._pieces(example.words)
        room = self.settings.max_length - 2
        if not train and len(pieces) > room:
            ends = np.cumsum(counts)
            return [
                tag_windows.mark(self._feature(pieces[a:b], counts[w.first : w.last], room), w)
                for w in tag_windows.windows(counts, room)
                for a, b in [(ends[w.first] - counts[w.first], ends[w.last - 1])]
            ]
        feature = self._feature(pieces, counts, room)
        starts = feature["word_positions"]
        if len(pieces) > room:
            fits = 1 + int(np.flatnonzero((starts != NO_PIECE) & (starts <= room))[-1])
            self.truncated += 1
            self.missed_words += int(np.count_nonzero(starts[fits:]))
            starts = feature["word_positions"] = starts[:fits]
        if train:
            tags = [self._id(example, tag) for tag in (example.tags or ())[: len(starts)]]
            feature["tags"] = np.where(starts == NO_PIECE, IGNORED_TAG, tags).astype(np.int32)
            if (feature["tags"] == IGNORED_TAG).all():
                return []
        return [feature]

    def _feature(self, pieces: np.ndarray, counts: np.ndarray, room: int) -> Feature:
        """[CLS], as many word pieces as fit, [SEP]; the positions of all words."""
        special = self._tokenizer.special_ids
        input_ids = np.concatenate([[special.cls], pieces[:room], [special.sep]]).astype(np.int32)
        starts = np.where(counts == 0, NO_PIECE, 1 + np.cumsum(counts) - counts)
        return {
            "input_ids": input_ids,
            "token_type_ids": np.full_like(input_ids, self._token_type),
            "word_positions": starts.astype(np.int32),
        }

    def _pieces(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all words, concatenated, and how many each word has."""
        if self._with_spaces:
            texts = with_spaces(words)
        else:
            texts = ["" if is_blank(word) else word for word in words]
        pieces, counts = self._tokenizer.encode_flat(texts)
        if self._space is None:
            return pieces, counts
        starts = np.cumsum(counts) - counts
        wide = np.array([bool(word) and is_wide(word[0]) for word in words])
        marked = wide & (counts > 1)
        marked[marked] = pieces[starts[marked]] == self._space
        return np.delete(pieces, starts[marked]), counts - marked

    def _id(self, example: TaggedExample, tag: str) -> int:
        if isinstance(tag, Missing):
            return IGNORED_TAG
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

        Tags and probabilities (of the tag) are None for words that did not fit a training feature;
        the probability alone for words without word pieces. Outputs: "logits" [words that fit,
        labels].
        """
        logits, positions = tag_windows.join(features, outputs)
        probabilities = softmax(logits)
        best = probabilities.argmax(-1)
        read = [bool(position != NO_PIECE) for position in positions]
        tags = [self.labels[i] if r else self._no_tag for i, r in zip(best, read, strict=True)]
        each = probabilities[np.arange(len(best)), best].tolist()
        unseen = [None] * (len(example.words) - len(tags))
        answer: dict[str, Any] = {
            "id": example.id,
            "words": list(example.words),
            "tags": [*tags, *unseen],
            "probabilities": [*(p if r else None for p, r in zip(each, read)), *unseen],
        }
        if self.spans:
            answer["entities"] = [
                {**span._asdict(), **_place(example, span.start, span.end)}
                for span in _spans(tags, read)
            ]
        return answer

    def score(
        self, examples: Sequence[TaggedExample], predictions: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """F1, precision and recall of spans, and accuracy of words, in percent; without spans the
        accuracy alone; and "missed_words", the number of words without an answer."""
        missed = sum(prediction["tags"].count(None) for prediction in predictions)
        gold, found, read = _with_gold(examples, predictions)
        scores: dict[str, float] = {}
        if self.spans:
            seen = [[OUTSIDE if tag is None else tag for tag in tags] for tags in found]
            bridged = ([*map(_bridged, tags, read)] for tags in (gold, seen))
            overall = metrics.entity_scores(*bridged)["overall"]
            scores = {"f1": overall.f1, "precision": overall.precision, "recall": overall.recall}
        # "" equals no tag: a word that was not predicted is wrong even where its tag is "O".
        words = [[tag or "" for tag in tags] for tags in found]
        scores["accuracy"] = metrics.token_accuracy(gold, words)
        scores["missed_words"] = float(missed)
        return scores

    def class_scores(
        self, examples: Sequence[TaggedExample], predictions: Sequence[Mapping[str, Any]]
    ) -> ClassScores:
        """Scores by type of span, or by tag, over the words that `score` reads."""
        gold, found, read = _with_gold(examples, predictions)
        if not self.spans:
            return tag_scores(gold, found)
        seen = [[OUTSIDE if tag is None else tag for tag in tags] for tags in found]
        right, answered = (
            [set(find_spans(_bridged(t, r))) for t, r in zip(side, read, strict=True)]
            for side in (gold, seen)
        )
        return class_scores(right, answered)


def _with_gold(
    examples: Sequence[TaggedExample], predictions: Sequence[Mapping[str, Any]]
) -> tuple[list[list[Any]], list[list[Any]], list[list[bool]]]:
    """Gold tags, answers and whether the model reads each word, of the words with a gold tag."""
    gold = [list(example.tags or ()) for example in examples]
    found = [prediction["tags"] for prediction in predictions]
    read = [_read(prediction) for prediction in predictions]
    for i, tags in enumerate(gold):
        if any(isinstance(tag, Missing) for tag in tags):
            kept = [j for j, tag in enumerate(tags) if not isinstance(tag, Missing)]
            gold[i], found[i] = [tags[j] for j in kept], [found[i][j] for j in kept]
            read[i] = [read[i][j] for j in kept]
    return gold, found, read


def no_span_tag(tag: str, task: Task) -> str:
    """What is wrong with a tag that marks no span, and what to do."""
    kind, dash, letter = tag.rpartition("-")
    if tag.isdecimal():
        remedy = "write the names of the tags in place of their numbers"
    elif dash and kind and is_span_tag(letter):
        remedy = f"write the letter first ({letter}-{kind})"
    else:
        remedy = "use the task tagging or pos for one tag a word"
    return (
        f'the tag "{tag}" marks no span (B-X, I-X, O and the like), which the task {task.name} '
        f"scores; {remedy}"
    )


def _read(prediction: Mapping[str, Any]) -> list[bool]:
    """Which words of a prediction have word pieces, or did not fit."""
    tags = prediction["tags"]
    probabilities = prediction.get("probabilities", tags)
    return [tag is None or p is not None for tag, p in zip(tags, probabilities, strict=True)]


def _spans(tags: Sequence[str | None], read: Sequence[bool]) -> list[Span]:
    """The spans of the words that were `read`, as if the others were not there."""
    words = [i for i, r in enumerate(read) if r]
    spans = find_spans([str(tags[i]) for i in words])
    return [Span(s.type, words[s.start], words[s.end - 1] + 1) for s in spans]


def _bridged(tags: Sequence[str], read: Sequence[bool]) -> list[str]:
    """The tags, where words outside of spans that were not `read` divide no span."""
    bridged = list(tags)
    for span in [] if all(read) else _spans(tags, read):
        for i in range(span.start, span.end):
            if not read[i] and tags[i] == OUTSIDE:
                bridged[i] = "I" if span.type == "_" else f"I-{span.type}"
    return bridged


def _place(example: TaggedExample, start: int, end: int) -> dict[str, Any]:
    """The text of words [start, end), and its characters in the original where that is known."""
    if example.text is None:
        return {"text": join_words(example.words[start:end])}
    first, last = example.offsets[start][0], example.offsets[end - 1][1]
    return {
        "text": example.text[first:last],
        "start_character": first,
        "end_character": last,
    }
