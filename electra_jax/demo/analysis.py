"""The demo's view of a pretrained pair: its corruptions of held-out rows, the token-only
classifier to compare with, and one row to show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.data.batches import eval_batches
from electra_jax.data.rows import Rows
from electra_jax.objectives.electra import ElectraObjective
from electra_jax.objectives.metrics import binary_entropy
from electra_jax.objectives.rng import Draws
from electra_jax.training.step import run_key

_CONTINUES = "##"
_SPECIAL = ("[CLS]", "[SEP]")


@dataclasses.dataclass
class Corruptions:
    """Held-out rows as the discriminator sees them: int [R, L] ids, bool labels and validity,
    float probabilities that a token was replaced."""

    original: np.ndarray
    corrupted: np.ndarray
    replaced: np.ndarray
    valid: np.ndarray
    probability: np.ndarray


def corruptions(
    objective: ElectraObjective, params: Any, held_out: Rows, batch_size: int, seed: int
) -> Corruptions:
    """The corruptions that the evaluations of a run with this seed see, at temperature 1."""

    @jax.jit
    def corrupt(ids: jax.Array, first: jax.Array) -> tuple[jax.Array, ...]:
        numbers = first + jnp.arange(ids.shape[0], dtype=jnp.int32)
        draws = Draws(run_key(seed, "eval"), jnp.zeros((), jnp.int32), numbers)
        rows = objective.masking.mask({"input_ids": ids}, draws)
        apply = objective.model.apply
        logits: Any = apply(
            {"params": params},
            rows.masked_inputs,
            rows.selection.positions,
            method="generator_logits",
        )
        inputs, labels = objective.corrupt(rows, objective.sample(logits, rows, draws, False))
        found: Any = apply({"params": params}, inputs, method="discriminator_logits")
        return ids, inputs.input_ids, labels > 0, rows.structure.valid, jax.nn.sigmoid(found)

    parts = [
        [np.asarray(x) for x in corrupt(batch["input_ids"], np.int32(i * batch_size))]
        for i, batch in enumerate(eval_batches(held_out, batch_size))
    ]
    return Corruptions(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def token_only_skill(seen: Corruptions, vocab_size: int) -> float:
    """RTD skill of the best classifier that sees a token's id alone.

    Fitted to the corruptions that it is evaluated on, hence an upper bound: its loss is the
    conditional entropy of "replaced" given the id.
    """
    ids = seen.corrupted[seen.valid]
    fake = seen.replaced[seen.valid].astype(float)
    count = np.bincount(ids, minlength=vocab_size)
    positive = np.bincount(ids, weights=fake, minlength=vocab_size)
    used = count > 0
    rates = positive[used] / count[used]
    loss = sum(n * binary_entropy(p) for n, p in zip(count[used], rates, strict=True)) / len(ids)
    return float(1 - loss / binary_entropy(fake.mean()))


def showcase(seen: Corruptions, tokens: Callable[[list[int]], list[str]]) -> int:
    """The number of a row worth showing.

    Of the rows with 4 to 8 replacements the tenth that reads best (most of their words are whole
    and of letters, the replaced ones too); of these the one whose margin between replaced and kept
    tokens (difference of mean probabilities) is the median: neither the best nor the worst.
    """
    margins, prose = {}, {}
    for number in range(len(seen.original)):
        valid, fake = seen.valid[number], seen.replaced[number]
        if 4 <= fake.sum() <= 8 and valid.all():
            p = seen.probability[number]
            margins[number] = p[fake].mean() - p[valid & ~fake].mean()
            prose[number] = _readability(words(seen, number, tokens))
    if not margins:
        return 0
    readable = sorted(margins, key=lambda number: (-prose[number], number))
    ordered = sorted(readable[: max(1, len(readable) // 10)], key=margins.__getitem__)
    return ordered[len(ordered) // 2]


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a corrupted row: its pieces joined, the highest probability of a piece that it was
    replaced, and the original where one was ("" otherwise)."""

    text: str
    probability: float
    original: str
    pieces: int

    @property
    def replaced(self) -> bool:
        return bool(self.original)


def words(seen: Corruptions, number: int, tokens: Callable[[list[int]], list[str]]) -> list[Word]:
    """The words of a row without [CLS] and [SEP].

    `tokens` maps ids to WordPiece tokens. A token belongs to the word before it where it or the
    original continues one ("##ing"), so that a word and its original stand together.
    """
    valid = seen.valid[number]
    original, corrupted = (
        tokens(ids[number][valid].tolist()) for ids in (seen.original, seen.corrupted)
    )
    fake, p = seen.replaced[number][valid].tolist(), seen.probability[number][valid].tolist()
    groups: list[list[int]] = []
    for i, (before, after) in enumerate(zip(original, corrupted, strict=True)):
        if before in _SPECIAL:
            continue
        continues = before.startswith(_CONTINUES) or after.startswith(_CONTINUES)
        if continues and groups and groups[-1][-1] == i - 1:
            groups[-1].append(i)
        else:
            groups.append([i])
    return [
        Word(
            _joined([corrupted[i] for i in group]),
            max(p[i] for i in group),
            _joined([original[i] for i in group]) if any(fake[i] for i in group) else "",
            len(group),
        )
        for group in groups
    ]


def _joined(pieces: list[str]) -> str:
    text = " ".join(pieces).replace(f" {_CONTINUES}", "")
    return text.removeprefix(_CONTINUES)


def _readability(row: list[Word]) -> float:
    """The share of words that are one or two pieces and letters alone; replaced ones count
    thrice."""
    weights = [3.0 if word.replaced else 1.0 for word in row]
    plain = [
        weight
        for word, weight in zip(row, weights, strict=True)
        if word.text.isalpha() and len(word.text) > 1 and word.pieces <= 2
    ]
    return sum(plain) / sum(weights) if weights else 0.0


def sentence_text(row: list[Word], width: int = 96) -> str:
    """The words of a corrupted row, the probability (in percent) under each, and under a replaced
    word the original in brackets."""
    lines: list[list[str]] = [["", "", ""]]
    for word in row:
        below = f"[{word.original}]" if word.replaced else ""
        cells = [word.text, f"{100 * word.probability:.0f}", below]
        size = max(map(len, cells)) + 1
        if len(lines[-1][0]) + size > width:
            lines.append(["", "", ""])
        lines[-1] = [line + cell.ljust(size) for line, cell in zip(lines[-1], cells, strict=True)]
    blocks = ("\n".join(line.rstrip() for line in block if line.strip()) for block in lines)
    return "\n\n".join(blocks)


def sentence_tokens(row: list[Word]) -> list[dict[str, Any]]:
    """The same for a report's `tokens` block (`reporting/blocks.py`)."""
    return [
        {"text": word.text, "probability": word.probability}
        | ({"replaced": True, "original": word.original} if word.replaced else {})
        for word in row
    ]
