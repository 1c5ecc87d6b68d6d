"""How a tokenizer treats the text that it was made from, measured on a sample of its lines."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from electra_jax.text.tokenizers.tokenizer import Tokenizer

SAMPLE_LINES = 2000
_LONGEST = 2000  # characters of a line that are kept
_EXAMPLES = 3
_EXAMPLE_TOKENS = 16
_FREQUENT_SHARE = 1e-4
_FREQUENT_COUNT = 10
"""A character is frequent where it is both so large a share of the sample's and so many."""


class LineSample:
    """A uniform sample of the lines of a stream, the same for the same lines (reservoir sampling,
    Vitter's algorithm R)."""

    def __init__(self, size: int = SAMPLE_LINES):
        self.lines: list[str] = []
        self._size = size
        self._seen = 0
        self._random = random.Random(0)

    def watch(self, lines: Iterator[str]) -> Iterator[str]:
        """The lines themselves, of which the sample is taken as they pass."""
        for line in lines:
            self._seen += 1
            if len(self.lines) < self._size:
                self.lines.append(line[:_LONGEST])
            else:
                place = int(self._random.random() * self._seen)
                if place < self._size:
                    self.lines[place] = line[:_LONGEST]
            yield line


@dataclass(frozen=True)
class SampleReport:
    """What a sample shows: its numbers of lines, words (separated by spaces), characters (without
    spaces), tokens and [UNK] tokens; texts with their tokens; and characters that the vocabulary
    has no token for although they are frequent, with their counts, most frequent first.
    """

    lines: int
    words: int
    characters: int
    tokens: int
    unknown: int
    examples: tuple[tuple[str, tuple[str, ...]], ...]
    lost: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        per_word, per_token = self.tokens / self.words, self.characters / max(self.tokens, 1)
        parts = [f"  {' '.join(tokens)}" for _, tokens in self.examples]
        parts.append(
            f"{per_word:.2f} tokens a word, {per_token:.2f} characters a token, "
            f"{self.unknown / max(self.tokens, 1):.2%} [UNK] (a sample of {self.lines:,} lines, "
            f"{self.words:,} words of the text)"
        )
        return "\n".join(parts)


def measure(tokenizer: Tokenizer, lines: Sequence[str]) -> SampleReport:
    """Encodes the lines, of which at least one has a word."""
    ids, _ = tokenizer.encode_flat(lines)
    letters: Counter[str] = Counter()
    for line in lines:
        letters.update(line)
    for space in [c for c in letters if c.isspace()]:
        del letters[space]
    characters = sum(letters.values())
    enough = max(_FREQUENT_COUNT, _FREQUENT_SHARE * characters)
    frequent = sorted(
        (c for c, n in letters.items() if n >= enough), key=lambda c: (-letters[c], c)
    )
    return SampleReport(
        lines=len(lines),
        words=sum(len(line.split()) for line in lines),
        characters=characters,
        tokens=len(ids),
        unknown=int((ids == tokenizer.special_ids.unk).sum()),
        examples=tuple(_examples(tokenizer, lines)),
        lost=tuple((c, letters[c]) for c in frequent if _is_lost(tokenizer, c)),
    )


def _examples(tokenizer: Tokenizer, lines: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Beginnings of lines spread over the sample, with their tokens."""
    for line in lines[:: max(1, len(lines) // _EXAMPLES)][:_EXAMPLES]:
        tokens = tokenizer.ids_to_tokens(tokenizer.encode(line))
        shown = [*tokens[:_EXAMPLE_TOKENS], *(["…"] if len(tokens) > _EXAMPLE_TOKENS else [])]
        yield line, tuple(shown)


def _is_lost(tokenizer: Tokenizer, character: str) -> bool:
    """Whether a character is unknown both at the beginning of a word and within one."""
    unknown = tokenizer.special_ids.unk
    if unknown not in tokenizer.encode(character):
        return False
    return tokenizer.kind != "wordpiece" or tokenizer.id_of(f"##{character}") is None
