"""What all codecs but the one of questions share: [CLS] a [SEP] b [SEP], cut to a length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from electra_jax.text.tokenizers.tokenizer import Tokenizer

Ids = npt.NDArray[np.int32]
NOTHING: Ids = np.empty(0, np.int32)


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


class PairEncoder:
    """[CLS] a [SEP], or [CLS] a [SEP] b [SEP], with token types 0 and 1."""

    def __init__(self, tokenizer: Tokenizer, max_length: int):
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.truncated = 0

    def texts(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of each text, without special tokens."""
        ids, counts = self.tokenizer.encode_flat(texts)
        return np.split(ids, np.cumsum(counts)[:-1])

    def join(
        self, parts: Sequence[Ids], keep_end: bool = False, tail: Ids = NOTHING
    ) -> tuple[Ids, Ids]:
        """(input_ids, token_type_ids), int32 [n], of one or two parts, cut to `max_length`.

        Args:
          keep_end: cut the first part from its beginning.
          tail: goes after the first part, and is cut only where nothing is left of that.
        """
        special = self.tokenizer.special_ids
        limit = self.max_length - 1 - len(parts)
        excess = max(0, sum(map(len, parts)) + len(tail) - limit)
        self.truncated += excess > 0
        if len(tail):
            first = parts[0][: max(0, len(parts[0]) - excess)]
            parts = [np.concatenate([first, tail]), *parts[1:]]
        lengths = [len(part) for part in parts]
        if sum(lengths) > limit:
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


def softmax(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Over the last axis, in float64."""
    logits = np.asarray(logits, np.float64)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
