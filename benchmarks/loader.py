"""Tokens a second of the loader alone, and how long a training step waits for it.

    python benchmarks/loader.py
    python benchmarks/loader.py --starvation --size=small --batch_size=32 --backends numpy tf

Rows are synthetic, on disk in the temporary folder. With `--starvation` a model trains: the share
of its time that passes in `next(batches)`, and the time of steps fed by each loader over that of
steps on one resident batch, measured in turns. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from workload import (
    TrainingStep,
    add_model_arguments,
    machine,
    mask_prob_of,
    pair_of,
    prepare_host,
    synthetic_ids,
    write_rows,
)

from electra_jax.data.batches import train_batches
from electra_jax.data.rows import Rows


def rate(rows: Rows, batch_size: int, backend: Any, seconds: float) -> float:
    """Tokens a second, read for about so many seconds after a warm-up."""
    with train_batches(rows, seed=0, batch_size=batch_size, backend=backend) as batches:
        for _ in range(20):
            next(batches)
        begin, done = time.perf_counter(), 0
        while (passed := time.perf_counter() - begin) < seconds:
            for _ in range(10):
                next(batches)
            done += 10
        return done * batch_size * rows.seq_len / passed


class Waiting(Iterator[Any]):
    """Passes batches on and adds up the time that they were waited for."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches, self.seconds = batches, 0.0

    def __next__(self) -> Any:
        begin = time.perf_counter()
        batch = next(self._batches)
        self.seconds += time.perf_counter() - begin
        return batch


def starvation(a: argparse.Namespace, rows: Rows) -> dict[str, Any]:
    """How much slower steps are with each loader than with a batch at hand, taking turns at being
    first."""
    step = TrainingStep(pair_of(a), a.batch_size, rows.seq_len, mask_prob_of(a))
    sources: dict[str, Any] = {
        backend: Waiting(train_batches(rows, seed=0, batch_size=a.batch_size, backend=backend))
        for backend in a.backends
    }
    resident = jax.device_put(next(sources[a.backends[0]]))
    sources["resident"] = itertools.repeat(resident)
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    for name in a.backends:
        step.seconds(sources[name], 2)
        sources[name].seconds = 0.0
    names = list(sources)
    for number in range(a.rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(step.seconds(sources[name], a.steps))
    found: dict[str, Any] = {}
    for name in a.backends:
        ratios = [x / y for x, y in zip(seconds[name], seconds["resident"], strict=True)]
        found[name] = {
            "waiting_share": sources[name].seconds / sum(seconds[name]),
            "ratio": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
        }
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_arguments(parser)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--starvation", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--backends", nargs="+", choices=("numpy", "tf"), default=["numpy"])
    a = parser.parse_args()
    prepare_host()
    pair = pair_of(a)
    vocab_size = pair.discriminator.vocab_size
    result: dict[str, Any] = {"seq_len": a.seq_len, "machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        rows = Rows.open(
            write_rows(Path(folder), synthetic_ids(a.rows, a.seq_len, vocab_size), vocab_size)
        )
        if a.starvation:
            result["starvation"] = starvation(a, rows)
            for backend, found in result["starvation"].items():
                print(f"{backend}: waiting for batches {found['waiting_share']:.3%} of the time")
        else:
            rates = {}
            for backend, size in itertools.product(a.backends, (32, 256, 1024)):
                rates[f"{backend} {size}"] = rate(rows, size, backend, a.seconds)
                print(f"{backend} batch {size}: {rates[f'{backend} {size}'] / 1e6:.1f} M tokens/s")
            result["tokens_per_second"] = rates
    print(json.dumps(result))


if __name__ == "__main__":
    main()
