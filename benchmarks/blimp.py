"""BLiMP without fine-tuning: does a network find the grammatical sentence of each pair better?

    ELECTRA_JAX_DATA=DATA python benchmarks/blimp.py MODEL...

A generator or masked-LM scores a sentence by its pseudo-log-likelihood, Σ log p(token | the
others): every token is masked once (Salazar et al. 2020). A discriminator scores it by
Σ log p(original) = −Σ log(1 + exp(logit)) over its tokens. A pair of sentences counts
where the grammatical one scores higher; ties are wrong. The accuracy is the mean over the twelve
phenomena of the means of their paradigms (67). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax import load
from electra_jax.config.model import ElectraConfig
from electra_jax.inference.model import Model
from electra_jax.interop.mapping.infer_shapes import module_of
from electra_jax.interop.mapping.names import DISCRIMINATOR, GENERATOR
from electra_jax.modeling.electra import Inputs, padding_mask

LENGTH_STEP = 8  # rows of one length share a program
TOKENS = 8192  # of a batch
Scorer = Callable[[Sequence[Sequence[int]]], np.ndarray]


def read_pairs(file: Path, per_paradigm: int | None = None) -> list[dict[str, Any]]:
    """Records with `good`, `bad`, `uid` (the paradigm) and `term` (the phenomenon)."""
    seen: collections.Counter[str] = collections.Counter()
    found = []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            seen[record["uid"]] += 1
            if per_paradigm is None or seen[record["uid"]] <= per_paradigm:
                found.append(record)
    return found


def accuracy(pairs: Sequence[dict[str, Any]], margins: Sequence[float]) -> dict[str, Any]:
    """`mean` over phenomena and `phenomena` in percent, from score(good) − score(bad)."""
    paradigms: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for pair, margin in zip(pairs, margins, strict=True):
        paradigms[pair["term"], pair["uid"]].append(100.0 * (margin > 0))
    phenomena: dict[str, list[float]] = collections.defaultdict(list)
    for (term, _), right in paradigms.items():
        phenomena[term].append(mean(right))
    means = {term: mean(values) for term, values in sorted(phenomena.items())}
    return {"mean": mean(means.values()), "phenomena": means, "pairs": len(pairs)}


def margins(model: Model, pairs: Sequence[dict[str, Any]]) -> list[float]:
    """score(good) − score(bad) of every pair."""
    tokenizer = model.tokenizer
    texts = [pair[side] for pair in pairs for side in ("good", "bad")]
    encoded = tokenizer(texts)
    lengths = encoded.attention_mask.sum(1)
    rows = [ids[:length].tolist() for ids, length in zip(encoded.input_ids, lengths, strict=True)]
    scores = _scorer(model)(rows)
    return [float(good - bad) for good, bad in zip(scores[::2], scores[1::2], strict=True)]


def _scorer(model: Model) -> Scorer:
    if model.kind == DISCRIMINATOR:
        return lambda rows: _originality(model, rows)
    if model.kind == GENERATOR:
        return lambda rows: _pseudo_log_likelihood(model, rows)
    raise SystemExit(f"{model.source}: a {model.kind} gives no probability of a sentence")


def _originality(model: Model, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Σ log p(original) of [CLS] … [SEP] rows, without these two."""
    apply = _compiled(model)

    @jax.jit
    def score(params: Any, ids: jax.Array, lengths: jax.Array) -> jax.Array:
        places = jnp.arange(ids.shape[1])[None]
        logits = apply(params, ids, places < lengths[:, None])
        inside = (places > 0) & (places < lengths[:, None] - 1)
        return -(jax.nn.softplus(logits) * inside).sum(1)

    result = np.zeros(len(rows))
    for numbers, ids, lengths in _batches(rows):
        result[numbers] = np.asarray(score(model.params, ids, lengths))[: len(numbers)]
    return result


def _pseudo_log_likelihood(model: Model, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Σ log p(token | all others) of [CLS] … [SEP] rows, a masked copy for each token between."""
    apply = _compiled(model)
    mask = model.tokenizer.special_ids.mask

    @jax.jit
    def score(params: Any, ids: jax.Array, lengths: jax.Array, at: jax.Array) -> jax.Array:
        masked = jnp.where(jnp.arange(ids.shape[1])[None] == at[:, None], mask, ids)
        inside = jnp.arange(ids.shape[1])[None] < lengths[:, None]
        logits = apply(params, masked, inside, at[:, None])[:, 0]
        target = jnp.take_along_axis(ids, at[:, None], 1)
        return jnp.take_along_axis(jax.nn.log_softmax(logits), target, 1)[:, 0]

    copies = [(number, at) for number, row in enumerate(rows) for at in range(1, len(row) - 1)]
    result = np.zeros(len(rows))
    for numbers, ids, lengths in _batches([rows[number] for number, _ in copies]):
        at = np.ones(len(ids), np.int32)
        at[: len(numbers)] = [copies[i][1] for i in numbers]
        found = np.asarray(score(model.params, ids, lengths, at))[: len(numbers)]
        np.add.at(result, [copies[i][0] for i in numbers], found)
    return result


def _compiled(model: Model) -> Callable[..., jax.Array]:
    """(params, ids, mask, positions of a generator) → logits, with the layers scanned."""
    config = model.config
    assert isinstance(config, ElectraConfig)
    module = module_of(config, model.kind, model.num_labels, model.dropout_rate)

    def apply(params: Any, ids: jax.Array, inside: jax.Array, *positions: jax.Array) -> jax.Array:
        types = jnp.zeros_like(ids) if config.block == "bert" else None
        inputs = Inputs(ids, padding_mask(inside), types)
        return module.apply({"params": params}, inputs, *positions)  # type: ignore[return-value]

    return apply


def _batches(
    rows: Sequence[Sequence[int]],
) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """(numbers of rows, ids [B, L], lengths [B]) of similar lengths; B depends on L alone."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    while order:
        length = -(-len(rows[order[0]]) // LENGTH_STEP) * LENGTH_STEP
        count = max(1, TOKENS // length)
        taken = [number for number in order[:count] if len(rows[number]) <= length]
        order = order[len(taken) :]
        ids = np.zeros((count, length), np.int32)
        lengths = np.full(count, 2, np.int32)
        for place, number in enumerate(taken):
            ids[place, : len(rows[number])] = rows[number]
            lengths[place] = len(rows[number])
        yield taken, ids, lengths


def main() -> None:
    """Scores each model and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--pairs", type=int, help="only the first so many of each paradigm")
    a = parser.parse_args()
    file = Path(os.environ["ELECTRA_JAX_DATA"]) / "blimp" / "dev.jsonl.gz"
    pairs = read_pairs(file, a.pairs)
    found = {}
    for path in a.models:
        found[path] = accuracy(pairs, margins(load(path), pairs))
        print(f"{path}: {found[path]['mean']:.1f} over {len(pairs):,} pairs")
        for term, value in found[path]["phenomena"].items():
            print(f"  {term:30} {value:.1f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
