"""The demo's view of a pretrained pair: its corruptions of held-out rows, the token-only
classifier to compare with, and one row to show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
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


def showcase(seen: Corruptions) -> int:
    """The number of a row worth showing: of the rows with 4 to 8 replacements, the one whose
    margin between replaced and kept tokens (difference of mean probabilities) is the median:
    neither the best nor the worst."""
    margins = {}
    for number in range(len(seen.original)):
        valid, fake = seen.valid[number], seen.replaced[number]
        if 4 <= fake.sum() <= 8 and valid.all():
            p = seen.probability[number]
            margins[number] = p[fake].mean() - p[valid & ~fake].mean()
    if not margins:
        return 0
    ordered = sorted(margins, key=margins.__getitem__)
    return ordered[len(ordered) // 2]


def _columns(
    seen: Corruptions, number: int, tokens: Callable[[list[int]], list[str]]
) -> Iterator[tuple[str, str, bool, float]]:
    valid = seen.valid[number]
    original = tokens(seen.original[number][valid].tolist())
    corrupted = tokens(seen.corrupted[number][valid].tolist())
    fake, p = seen.replaced[number][valid], seen.probability[number][valid]
    yield from zip(original, corrupted, fake.tolist(), p.tolist(), strict=True)


def sentence_text(
    seen: Corruptions, number: int, tokens: Callable[[list[int]], list[str]], width: int = 96
) -> str:
    """The row as the generator corrupted it, the probability (in percent) under each token, and
    under a replaced token the original in brackets."""
    lines: list[list[str]] = [["", "", ""]]
    for original, token, fake, p in _columns(seen, number, tokens):
        cells = [token, f"{100 * p:.0f}", f"[{original}]" if fake else ""]
        size = max(map(len, cells)) + 1
        if len(lines[-1][0]) + size > width:
            lines.append(["", "", ""])
        lines[-1] = [line + cell.ljust(size) for line, cell in zip(lines[-1], cells, strict=True)]
    blocks = ("\n".join(line.rstrip() for line in block if line.strip()) for block in lines)
    return "\n\n".join(blocks)


def sentence_tokens(
    seen: Corruptions, number: int, tokens: Callable[[list[int]], list[str]]
) -> list[dict[str, Any]]:
    """The same for a report's `tokens` block (`reporting/page.py`)."""
    return [
        {"text": token, "probability": p}
        | ({"replaced": True, "original": original} if fake else {})
        for original, token, fake, p in _columns(seen, number, tokens)
    ]
