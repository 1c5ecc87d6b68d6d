"""[CLS] a [SEP] b [SEP], truncated to a maximum length; question answering has windows instead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from electra_jax.text.tokenizers.tokenizer import Tokenizer

Ids = npt.NDArray[np.int32]
NOTHING: Ids = np.empty(0, np.int32)


def longest_first(first: int, second: int, limit: int) -> tuple[int, int]:
    """Both lengths after truncation to `limit` tokens together: tokens are removed one by one from
    the longer of the two, from the second where they are equal, as in the reference."""
    excess = max(first + second - limit, 0)
    from_longer = min(excess, abs(first - second))
    if first > second:
        first -= from_longer
    else:
        second -= from_longer
    rest = excess - from_longer
    return first - rest // 2, second - (rest - rest // 2)


class PairEncoder:
    """[CLS] a [SEP], or [CLS] a [SEP] b [SEP], with token types 0 and 1.

    Attributes:
      truncated: number of sequences so far that were cut.
    """

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
          keep_end: truncate the first part at its beginning instead of its end.
          tail: follows the first part, and is cut only where nothing of that is left.
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
    """Softmax over the last axis, in float64, of the shape of `logits`."""
    logits = np.asarray(logits, np.float64)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
