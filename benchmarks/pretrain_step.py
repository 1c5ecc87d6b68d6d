"""Tokens a second and MFU of ELECTRA pretraining: the library's step with its loader.

    python benchmarks/pretrain_step.py --size=small --batch_size=32 --seq_len=128
    python benchmarks/pretrain_step.py --size=base --rows=rows/ --dtype=bfloat16 --trace=/tmp/trace

Rows are synthetic (full, one piece each) unless `--rows` names a folder made by `electra-jax
prepare`. The last line is one JSON object. `tokens_per_second` counts tokens that are not padding,
from the median of `--rounds` measurements of `--steps` steps each; `mfu` is that × model FLOPs a
token ÷ the device's peak (a measured matrix product's on a CPU), `electra_jax/flops.py` says what
is counted. `reference_flops_per_token` is the original code's convention.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from workload import (
    TrainingStep,
    add_model_arguments,
    machine,
    mask_prob_of,
    pair_of,
    peak_flops,
    peak_memory,
    prepare_host,
    synthetic_ids,
    write_rows,
)

from electra_jax.config.training import BACKENDS
from electra_jax.data.batches import train_batches
from electra_jax.data.rows import Rows
from electra_jax.flops import reference_train_flops_per_token, train_flops_per_token
from electra_jax.objectives.row_structure import SpecialIds, row_structure


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """Everything that the last line says."""
    with tempfile.TemporaryDirectory() as folder:
        pair = pair_of(a)
        if a.rows is None:
            vocab_size = pair.discriminator.vocab_size
            ids = synthetic_ids(max(4 * a.batch_size, 256), a.seq_len, vocab_size)
            rows = Rows.open(write_rows(Path(folder), ids, vocab_size))
        else:
            rows = Rows.open(a.rows)
            shape = {
                "vocab_size": rows.vocab_size,
                "pad_token_id": rows.special_ids["pad"],
                "max_position_embeddings": max(512, rows.seq_len),
            }
            pair = type(pair)(
                pair.discriminator.replace(**shape), pair.generator.replace(**shape), pair.sharing
            )
        return measure_rows(a, pair, rows)


def measure_rows(a: argparse.Namespace, pair: Any, rows: Rows) -> dict[str, Any]:
    """`measure` over an open rows folder."""
    step = TrainingStep(pair, a.batch_size, rows.seq_len, mask_prob_of(a), rows)
    batches: Any = train_batches(rows, seed=0, batch_size=a.batch_size, backend=a.backend)
    if a.no_loader:
        batches = itertools.repeat(jax.device_put(next(batches)))
    print(f"compiled in {step.compile_seconds:.1f} s", flush=True)
    step.seconds(batches, a.warmup)
    seconds = []
    for number in range(a.rounds):
        seconds.append(step.seconds(batches, a.steps) / a.steps)
        print(f"round {number + 1}: {seconds[-1] * 1e3:.1f} ms a step", flush=True)
    if a.trace:
        with jax.profiler.trace(a.trace):
            step.seconds(batches, 2)
    if not np.isfinite(step.finish()).all():
        raise SystemExit("a metric is not finite")
    median = statistics.median(seconds)
    full, context = row_fill(rows)
    tokens = a.batch_size * rows.seq_len * full / median
    flops = train_flops_per_token(pair, rows.seq_len, mask_prob_of(a), context)
    peak, source = peak_flops(a.dtype)
    reference = {}
    if pair.discriminator.block == "bert":
        each = reference_train_flops_per_token(pair, rows.seq_len)
        reference = {"reference_flops_per_token": each}
    return {
        "tokens_per_second": tokens,
        "mfu": tokens * flops / peak,  # of the one device that computes
        "model_flops_per_token": flops,
        **reference,
        "model_flops_per_second": tokens * flops,
        "peak_flops": peak,
        "peak_source": source,
        "step_seconds": median,
        "step_seconds_range": [min(seconds), max(seconds)],
        "compile_seconds": step.compile_seconds,
        "compilation_cache": not a.cold,  # with it, a second run's seconds are those of loading
        "scratch_bytes": step.scratch_bytes,
        **peak_memory(),
        "size": a.size,
        "batch_size": a.batch_size,
        "seq_len": rows.seq_len,
        "dtype": a.dtype,
        "hidden_dropout": a.hidden_dropout,
        "attention_dropout": a.attention_dropout,
        "attention": a.attention,
        "scan_layers": not a.unroll,
        "rows": a.rows or "synthetic",
        "fill": full,
        "context": context,
        "max_segments": rows.max_segments,
        "loader": not a.no_loader,
        "machine": machine(),
    }


def row_fill(rows: Rows, sample: int = 4096) -> tuple[float, float]:
    """(share of positions that are tokens, of all rows; mean number of tokens that a token may
    attend to, of rows drawn at random)."""
    drawn = np.random.default_rng(0).choice(rows.count, min(rows.count, sample), replace=False)
    ids = rows.take(np.sort(drawn))
    structure = row_structure(ids, SpecialIds(**rows.special_ids), rows.max_segments > 1)
    segments = np.asarray(structure.segment_ids)
    lengths = np.stack([(segments == k).sum(1) for k in range(1, rows.max_segments + 1)])
    fill = rows.tokens / (rows.count * rows.seq_len)
    return fill, float((lengths**2).sum() / max(lengths.sum(), 1))


def parser() -> argparse.ArgumentParser:
    """The flags."""
    result = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_arguments(result)
    result.add_argument("--rows", metavar="DIR", help="a rows folder; its length is used")
    result.add_argument("--rounds", type=int, default=5)
    result.add_argument("--steps", type=int, default=2, help="steps in each round")
    result.add_argument("--warmup", type=int, default=2, help="steps before the first round")
    result.add_argument("--backend", choices=BACKENDS, default="numpy", help="of the loader")
    result.add_argument("--no_loader", action="store_true", help="one resident batch")
    result.add_argument("--trace", metavar="DIR", help="writes a profile of two steps")
    result.add_argument("--cold", action="store_true", help="compile without the cache")
    return result


def main() -> None:
    """Measures and prints."""
    a = parser().parse_args()
    prepare_host(cache=not a.cold)
    print(json.dumps(measure(a)))


if __name__ == "__main__":
    main()
