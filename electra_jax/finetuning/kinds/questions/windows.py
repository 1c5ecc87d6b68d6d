"""The windows of a question with a long context, and the tokens of an answer in them.

As in the reference: question, then as much of the context as fits; the next window starts
`doc_stride` tokens later. A token in several windows is assigned to the one that maximises
min(left, right) context (BERT's max-context rule); answers start only there.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from electra_jax.finetuning.data.examples import QuestionExample
from electra_jax.text.tokenizers.tokenizer import Tokenizer

# The reference's white space, by which it divides answers into words.
_SPACES = frozenset(" \t\r\n\u202f")

NO_WORD = -1


@dataclasses.dataclass(frozen=True)
class Words:
    """The words of a text, separated by white space.

    Attributes:
      text: the text.
      spans: characters [start, end) of each word.
      of_character: word of each character of the text; of white space, the word before it (-1 at
        the beginning).
    """

    text: str
    spans: list[tuple[int, int]]
    of_character: list[int]

    def touched(self, start: int, end: int) -> tuple[int, int]:
        """First and last word of the characters [start, end)."""
        return max(self.of_character[start], 0), max(self.of_character[end - 1], 0)

    def joined(self, first: int, last: int) -> tuple[str, list[int]]:
        """Words first to last with one space between them, and the offset in the text of each of
        its characters (of a space: the end of the word before it)."""
        offsets: list[int] = []
        for start, end in self.spans[first : last + 1]:
            if offsets:
                offsets.append(offsets[-1] + 1)
            offsets.extend(range(start, end))
        return " ".join(self.text[a:b] for a, b in self.spans[first : last + 1]), offsets


def find_words(text: str) -> Words:
    """The words of a text as the reference divides it."""
    spans: list[tuple[int, int]] = []
    of_character = []
    inside = False
    for i, character in enumerate(text):
        if character in _SPACES:
            inside = False
        elif inside:
            spans[-1] = (spans[-1][0], i + 1)
        else:
            spans.append((i, i + 1))
            inside = True
        of_character.append(len(spans) - 1)
    return Words(text, spans, of_character)


@dataclasses.dataclass(frozen=True)
class Context:
    """A tokenized context.

    Attributes:
      words: the words of the text.
      ids: int32 [tokens].
      offsets: int32 [tokens, 2], the characters [start, end) of the text that each stands for.
      word_of_token: int32 [tokens].
    """

    words: Words
    ids: np.ndarray
    offsets: np.ndarray
    word_of_token: np.ndarray


def tokenize_context(tokenizer: Tokenizer, text: str) -> Context:
    """Tokens of a context, with characters and words."""
    words = find_words(text)
    ids, offsets = tokenizer.encode_with_offsets(text)
    of_token = [max(words.of_character[min(start, len(text) - 1)], 0) for start, _ in offsets]
    return Context(
        words=words,
        ids=np.asarray(ids, np.int32),
        offsets=np.asarray(offsets, np.int32).reshape(-1, 2),
        word_of_token=np.asarray(of_token, np.int32),
    )


def window_starts(tokens: int, room: int, stride: int) -> list[int]:
    """First context tokens of the windows, `room` tokens each (the last may be shorter)."""
    starts = []
    start = 0
    while start < tokens:
        starts.append(start)
        if start + room >= tokens:
            break
        start += min(room, stride)
    return starts


def max_context(tokens: int, starts: list[int], room: int) -> np.ndarray:
    """int32 [tokens]: the window in which each token has most context: the largest min(left, right)
    plus 0.01 of the window's length, the first of equals.
    """
    best, best_score = np.zeros(tokens, np.int32), np.full(tokens, -np.inf)
    for number, first in enumerate(starts):
        length = min(room, tokens - first)
        left, here = np.arange(length), slice(first, first + length)
        score = np.minimum(left, length - 1 - left) + 0.01 * length
        better = score > best_score[here]
        best[here][better] = number
        best_score[here][better] = score[better]
    return best


def training_answer(example: QuestionExample) -> tuple[str, int] | None:
    """(text, offset) of the answer that is learned: the first with a known offset."""
    return next((answer for answer in example.answers if answer[1] >= 0), None)


def answer_is_there(example: QuestionExample) -> bool:
    """Whether the answer to learn is at its offset, up to case and spaces."""
    answer = training_answer(example)
    if answer is None:
        return False
    text, start = answer
    there = example.context[start : start + len(text)]
    return bool(text.strip()) and _plain(there) == _plain(text)


def answer_is_there_for_the_reference(example: QuestionExample) -> bool:
    """The reference's rule: the answer's text is somewhere in the words that its offsets touch."""
    answer = training_answer(example)
    if answer is None:
        return False
    text, start = answer
    end = start + len(text)
    if not text.strip() or end > len(example.context):
        return False
    words = find_words(example.context)
    touched, _ = words.joined(*words.touched(start, end))
    return _plain(text) in touched.lower()


def answer_tokens(context: Context, text: str, start: int) -> tuple[int, int] | None:
    """First and last token that share a character with the answer; None without such tokens."""
    end = start + len(text)
    sharing = np.flatnonzero((context.offsets[:, 1] > start) & (context.offsets[:, 0] < end))
    return (int(sharing[0]), int(sharing[-1])) if sharing.size else None


def answer_tokens_as_the_reference(
    context: Context, text: str, start: int, tokenizer: Tokenizer
) -> tuple[int, int] | None:
    """The answer's own tokens where the touched words hold them (at the first such place), else
    all tokens of those words; None where the words have no token."""
    first_word, last_word = context.words.touched(start, start + len(text))
    word = context.word_of_token
    inside = np.flatnonzero((word >= first_word) & (word <= last_word))
    if not inside.size:
        return None
    first, last = int(inside[0]), int(inside[-1])
    answer = tokenizer.encode(text)
    ids = context.ids.tolist()
    for i in range(first, last + 2 - len(answer)):
        if answer and ids[i : i + len(answer)] == answer:
            return i, i + len(answer) - 1
    return first, last


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()
