"""A sentence longer than the model as overlapping windows of whole words.

Each word is tagged in the window in which it has most context, by the rule of questions: the larger
of min(left, right), the first of equals. The next window begins half a window later; the last one
begins as early as its length allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from electra_jax.finetuning.data.examples import Feature

Ints = npt.NDArray[np.int64]


class Window(NamedTuple):
    """Words [first, last) of a sentence, of which those in `tagged` (indices into the sentence) get
    their tags from this window."""

    first: int
    last: int
    tagged: Ints


def windows(counts: npt.ArrayLike, room: int) -> list[Window]:
    """The windows of a sentence.

    Args:
      counts: word pieces of each word [words]; 0 for a word without.
      room: word pieces of a window. A longer word is a window of its own, cut to its beginning.
    """
    lengths = np.asarray(counts, np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    edges = [(0, _last(starts, ends, 0, room))]
    while edges[-1][1] < len(ends):
        first, last = edges[-1]
        following = int(np.searchsorted(starts, starts[first] + room // 2))
        following = min(max(following, first + 1), last)
        earliest = int(np.searchsorted(starts, ends[-1] - room))  # from which the rest fits
        if earliest <= following:
            following = max(earliest, first + 1)
        edges.append((following, _last(starts, ends, following, room)))
    best = np.full(len(ends), -1)
    context = np.full(len(ends), -1)
    for number, (first, last) in enumerate(edges):
        left, right = starts[first:last] - starts[first], ends[last - 1] - ends[first:last]
        least = np.minimum(left, right)
        better = least > context[first:last]
        best[first:last][better] = number
        context[first:last][better] = least[better]
    return [Window(*edge, np.flatnonzero(best == n)) for n, edge in enumerate(edges)]


def _last(starts: Ints, ends: Ints, first: int, room: int) -> int:
    """The end of the window that begins at word `first`: one word at least."""
    return max(int(np.searchsorted(ends, starts[first] + room, side="right")), first + 1)


def mark(feature: Feature, window: Window) -> Feature:
    """The feature of a window, with what `join` needs."""
    return {**feature, "host": {"tagged": window.tagged, "rows": window.tagged - window.first}}


def join(
    features: Sequence[Feature], outputs: Sequence[Mapping[str, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """(logits [words, labels], positions [words]) of a sentence: of its one feature, or of each
    word in its window."""
    found = [np.asarray(output["logits"]) for output in outputs]
    if len(features) == 1:
        return found[0], features[0]["word_positions"]
    hosts = [feature["host"] for feature in features]
    words = sum(len(host["tagged"]) for host in hosts)
    logits = np.zeros((words, found[0].shape[-1]), found[0].dtype)
    positions = np.zeros(words, np.int32)
    for feature, host, each in zip(features, hosts, found, strict=True):
        logits[host["tagged"]] = each[host["rows"]]
        positions[host["tagged"]] = feature["word_positions"][host["rows"]]
    return logits, positions
