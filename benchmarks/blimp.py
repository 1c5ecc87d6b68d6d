"""BLiMP without fine-tuning: does a network find the grammatical sentence of each pair better?

    ELECTRA_JAX_DATA=DATA python benchmarks/blimp.py MODEL...

A sentence's score is the library's (`electra-jax score`): of a generator or masked-LM its
pseudo-log-likelihood, of a discriminator Σ log p(original), of an Electric model minus its
energies. A pair of sentences counts where the grammatical one scores higher; ties are wrong. The
accuracy is the mean over the twelve phenomena of the means of their paradigms (67). The last line
is one JSON object.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from electra_jax import load
from electra_jax.inference.model import Model
from electra_jax.inference.scorer import Scorer


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
    scores = Scorer(model).scores([pair[side] for pair in pairs for side in ("good", "bad")])
    return [good.score - bad.score for good, bad in zip(scores[::2], scores[1::2], strict=True)]


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
