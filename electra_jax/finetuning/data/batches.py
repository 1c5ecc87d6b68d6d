"""Length-bucketed batches of encoded examples: little padding, few compiled shapes.

Here and not in `data/` because a pretraining row has one length and nothing beside its ids. What
batch g of a run holds is a function of (lengths, seed, g) alone, as there.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from electra_jax.data.order import rows_of
from electra_jax.data.read_ahead import Backend, Batch, Batches, read_ahead
from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import Feature
from electra_jax.finetuning.kinds.base import Padding
from electra_jax.finetuning.kinds.table import padding_of_all

# Lengths that a batch may have, so that tasks share compiled programs.
LENGTHS = (*range(8, 64, 8), *range(64, 128, 16), *range(128, 256, 32), *range(256, 513, 64))
MOST_SHAPES = 8  # batch lengths where their number is not given
STEPS_PER_SHAPE = 20  # what compiling one takes, in steps
HOST = "host"  # what only decoding needs
_PADDING = {"input_ids": Padding(fill=None)}
_BATCH_ORDER = 0x5EED  # another keyed order than that of the examples


def feature_length(feature: Feature) -> int:
    """Tokens of a feature (of its longest choice), or words where these are more."""
    ids = feature["input_ids"]
    if isinstance(ids, list):
        return max(len(choice) for choice in ids)
    return max(len(ids), len(feature.get("word_positions", ())))


def choose_lengths(
    lengths: Sequence[int], shapes: int | None = None, *, steps: int = 0, limit: int | None = None
) -> tuple[int, ...]:
    """Batch lengths that cover `lengths` with the least padding (exact, by dynamic programming over
    `LENGTHS`): at most `shapes`, or as many as pay for their compilation in a run of `steps`; none
    above `limit`, which no text exceeds."""
    if shapes is not None and shapes < 1:
        raise UserError(f"data.shapes={shapes}: must be at least 1 (or None: as many as pay)")
    longest = max(lengths)
    candidates = [c for c in LENGTHS if c < longest]
    rounded = next((c for c in LENGTHS if c >= longest), longest)
    candidates.append(rounded if limit is None else max(longest, min(rounded, limit)))
    ends = np.searchsorted(np.sort(np.asarray(lengths)), candidates, side="right")
    # cost[j] = tokens of batches where candidates[j] is the longest length in use.
    cost = [float(end * c) for end, c in zip(ends, candidates, strict=True)]
    chosen: list[tuple[int, ...]] = [(j,) for j in range(len(candidates))]
    found = [(cost[-1], chosen[-1])]
    for _ in range((shapes or MOST_SHAPES) - 1):
        previous, before = list(cost), list(chosen)
        for j, c in enumerate(candidates):
            for i in range(j):
                tokens = previous[i] + float((ends[j] - ends[i]) * c)
                if tokens < cost[j]:
                    cost[j], chosen[j] = tokens, (*before[i], j)
        found.append((cost[-1], chosen[-1]))
    if shapes is None:
        # In steps without padding: what the batches' tokens take, and the compilations.
        worth = [steps * tokens / sum(lengths) + STEPS_PER_SHAPE * len(k) for tokens, k in found]
        best = found[int(np.argmin(worth))][1]
    else:
        best = found[-1][1]
    return tuple(candidates[j] for j in best)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How features become batches: `batch_size` of them at one of `lengths`, padded with
    `pad_id`. A batch of fewer has the least of `few` rows that is enough, if one is. `fields` are
    the kind's (None: those of every kind in the table)."""

    lengths: tuple[int, ...]
    batch_size: int
    pad_id: int
    few: tuple[int, ...] = ()
    fields: Mapping[str, Padding] | None = None

    def bucket(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index of the batch length that each feature needs, int64 like `lengths`."""
        return np.searchsorted(np.asarray(self.lengths), lengths, side="left")

    def stack(
        self, features: Sequence[Feature], length: int | None = None
    ) -> dict[str, np.ndarray]:
        """One batch: every entry but `host`, padded to one length and one number of rows.

        "weight" float32 [B] is 1 for a feature and 0 for a row that only fills up; "lengths" int32
        [B] (choices: [B, C]) counts tokens.
        """
        if length is None:
            longest = max(feature_length(f) for f in features)
            length = self.lengths[int(self.bucket(np.asarray([longest]))[0])]
        rows = next((n for n in self.few if n >= len(features)), self.batch_size)
        batch: dict[str, np.ndarray] = {"weight": np.zeros(rows, np.float32)}
        batch["weight"][: len(features)] = 1.0
        fields = padding_of_all() if self.fields is None else self.fields
        for name in features[0]:
            if name != HOST:
                padding = fields.get(name, _PADDING.get(name, Padding()))
                batch[name] = self._array([f[name] for f in features], rows, length, padding)
        ids = features[0]["input_ids"]
        if isinstance(ids, list):
            batch["lengths"] = np.zeros(batch["input_ids"].shape[:2], np.int32)
            for i, f in enumerate(features):
                batch["lengths"][i, : len(f["input_ids"])] = [len(c) for c in f["input_ids"]]
        else:
            batch["lengths"] = np.zeros(rows, np.int32)
            batch["lengths"][: len(features)] = [len(f["input_ids"]) for f in features]
        return batch

    def _array(self, values: Sequence[Any], rows: int, length: int, padding: Padding) -> np.ndarray:
        """One entry of `rows` features: [B], [B, length], of lists [B, longest list, length]."""
        fill = self.pad_id if padding.fill is None else padding.fill
        if isinstance(values[0], list):
            array = np.full((rows, max(map(len, values)), length), fill, np.int32)
            for i, value in enumerate(values):
                for j, one in enumerate(value):
                    array[i, j, : len(one)] = one
            return array
        first = np.asarray(values[0])
        if first.ndim == 0 or padding.fixed:
            array = np.zeros((rows, *first.shape), first.dtype)
            array[: len(values)] = np.stack(values)
            return array
        if padding.lengths:
            longest = max(map(len, values))
            length = next(n for n in padding.lengths if n >= longest)
        array = np.full((rows, length), fill, first.dtype)
        for i, value in enumerate(values):
            array[i, : len(value)] = value
        return array


@dataclasses.dataclass(frozen=True)
class TrainingOrder:
    """Which features batch g of a run holds. Every epoch holds each feature once; its last batch
    may be short.

    Within an epoch features come in the keyed order of (seed, epoch); each bucket's are cut into
    batches, what is left over shares a few batches of mixed length, and the batches are put into a
    keyed order too.
    """

    feature_lengths: NDArray[np.int64]
    plan: Plan
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch."""
        return -(-len(self.feature_lengths) // self.plan.batch_size)

    def epoch(self, number: int) -> list[NDArray[np.int64]]:
        """The feature numbers of each batch of an epoch."""
        count, size = len(self.feature_lengths), self.plan.batch_size
        order = rows_of(number * count + np.arange(count), count, self.seed)
        buckets = self.plan.bucket(self.feature_lengths[order])
        batches, left = [], []
        for bucket in range(len(self.plan.lengths)):
            mine = order[buckets == bucket]
            whole = len(mine) // size * size
            batches += np.split(mine[:whole], whole // size) if whole else []
            left.append(mine[whole:])
        rest = np.concatenate(left)
        batches += [rest[i : i + size] for i in range(0, len(rest), size)]
        mixed = rows_of(
            number * len(batches) + np.arange(len(batches)), len(batches), self.seed + _BATCH_ORDER
        )
        return [batches[i] for i in mixed]

    def padding(self) -> float:
        """The share of padding among the tokens of the first epoch's batches."""
        real, total = 0, 0
        for ids in self.epoch(0):
            lengths = self.feature_lengths[ids]
            real += int(lengths.sum())
            bucket = int(self.plan.bucket(lengths.max()[None])[0])
            total += self.plan.batch_size * self.plan.lengths[bucket]
        return 1.0 - real / max(total, 1)


def train_batches(
    features: Sequence[Feature], order: TrainingOrder, step: int, backend: Backend = "auto"
) -> Batches:
    """The batches of a run from `step` on, as arrays, without end; for `backend` see
    `data/read_ahead.py`."""
    epochs = functools.lru_cache(maxsize=2)(order.epoch)

    def read(number: int) -> Batch:
        epoch, batch = divmod(step + number, order.steps_per_epoch)
        stacked = order.plan.stack([features[i] for i in epochs(epoch)[batch]])
        return {name: value[None] for name, value in stacked.items()}

    return read_ahead(read, backend=backend)


def largest_batch(features: Sequence[Feature], order: TrainingOrder, steps: int) -> Batch:
    """The batch of most tokens, padding included, among the first `steps` of the first epoch; a
    whole epoch has one of the greatest length."""
    plan = order.plan

    def tokens(ids: NDArray[np.int64]) -> int:
        length = plan.lengths[int(plan.bucket(order.feature_lengths[ids].max()[None])[0])]
        texts = (features[i]["input_ids"] for i in ids)
        return length * max(len(t) if isinstance(t, list) else 1 for t in texts)

    return plan.stack([features[i] for i in max(order.epoch(0)[:steps], key=tokens)])


def eval_batches(
    features: Sequence[Feature], plan: Plan
) -> Iterator[tuple[NDArray[np.int64], dict[str, np.ndarray]]]:
    """Every feature once, neighbours in length together: (feature numbers, batch)."""
    order = np.argsort([feature_length(f) for f in features], kind="stable")
    for start in range(0, len(order), plan.batch_size):
        ids = order[start : start + plan.batch_size]
        yield ids, plan.stack([features[i] for i in ids])
