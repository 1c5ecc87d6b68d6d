"""What the benchmarks train: a named size over rows, with the library's own step, and the machine's
description. Needs neither TensorFlow nor ml_collections."""

from __future__ import annotations

import argparse
import dataclasses
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from electra_jax.config.model import DTYPES, SIZES, PairConfig, named_size
from electra_jax.config.training import NO_DECAY
from electra_jax.data.row_format import FORMAT, Split
from electra_jax.data.rows import Rows
from electra_jax.objectives.corruption import Masking
from electra_jax.objectives.electra import ElectraObjective, ElectraSettings
from electra_jax.objectives.row_structure import SpecialIds
from electra_jax.preparation.rows_writer import Progress, RowsWriter
from electra_jax.training.compilation import use_compilation_cache
from electra_jax.training.host_memory import keep_freed_memory
from electra_jax.training.optimizer import build_optimizer
from electra_jax.training.schedules import learning_rate_schedule
from electra_jax.training.step import init_state, make_train_step, pack

SPECIAL = SpecialIds(pad=0, unk=100, cls=101, sep=102, mask=103)

# Dense bf16 peaks of one device in FLOP/s, by the start of its name.
PEAKS = {
    "NVIDIA H200": 989e12,
    "NVIDIA H100": 989e12,
    "NVIDIA A100": 312e12,
    "Tesla V100": 125e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v6": 918e12,
}


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Shape, batch and how it is computed."""
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seq_len", type=int, default=128)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--mask_prob", type=float, default=None, help="default: the recipe's")
    parser.add_argument("--hidden_dropout", type=float, default=0.1)
    parser.add_argument("--attention_dropout", type=float, default=0.1)
    parser.add_argument("--attention", choices=("xla", "cudnn"), default="xla")
    parser.add_argument("--remat", choices=("none", "full", "dots"), default="none")
    parser.add_argument("--layers", type=int, default=None, help="default: the size's")
    parser.add_argument("--unroll", action="store_true", help="layers unrolled, not scanned")


def pair_of(a: argparse.Namespace) -> PairConfig:
    """The pair that the arguments describe."""
    pair = named_size(a.size)
    changes: dict[str, Any] = {
        "dtype": a.dtype,
        "hidden_dropout_prob": a.hidden_dropout,
        "attention_probs_dropout_prob": a.attention_dropout,
        "attention": a.attention,
        "remat": a.remat,
        "scan_layers": not a.unroll,
        "max_position_embeddings": max(512, a.seq_len),
    }
    if a.layers:
        changes["num_hidden_layers"] = a.layers
    assert pair.generator is not None
    return PairConfig(
        pair.discriminator.replace(**changes), pair.generator.replace(**changes), pair.sharing
    )


def mask_prob_of(a: argparse.Namespace) -> float:
    """Share of masked positions: as asked, or the size's recipe."""
    if a.mask_prob is not None:
        return float(a.mask_prob)
    return 0.25 if a.size.startswith("large") else 0.15


def synthetic_ids(rows: int, seq_len: int, vocab_size: int, seed: int = 0) -> np.ndarray:
    """int32 [rows, seq_len]: full rows, [CLS] … [SEP], ids by Zipf's law beyond the specials."""
    rng = np.random.default_rng(seed)
    first = min(1000, vocab_size // 4)
    weights = 1 / np.arange(1, vocab_size - first + 1)
    ids = first + rng.choice(vocab_size - first, (rows, seq_len), p=weights / weights.sum())
    ids[:, 0], ids[:, -1] = SPECIAL.cls, SPECIAL.sep
    return ids.astype(np.int32)


def write_rows(
    folder: Path,
    ids: np.ndarray,
    vocab_size: int,
    special: SpecialIds = SPECIAL,
    max_segments: int = 1,
) -> Path:
    """A rows folder of one split from ids [rows, seq_len], as `prepare` would leave it (but for
    the tokenizer, which training does not read)."""
    folder.mkdir(parents=True, exist_ok=True)
    dtype = "uint16" if vocab_size <= 2**16 else "uint32"
    with RowsWriter(folder, ids.shape[1], dtype, {"benchmark": True}) as writer:
        tokens = int((ids != special.pad).sum())
        count = Split(rows=len(ids), tokens=tokens, max_segments=max_segments, documents=len(ids))
        writer.append(Progress(1, {"train": count, "eval": Split()}), {"train": ids})
        writer.finish(
            {
                "format": FORMAT,
                "seq_len": ids.shape[1],
                "dtype": dtype,
                "vocab_size": vocab_size,
                "packing": "full",
                "seed": 0,
                "special_ids": dataclasses.asdict(special),
                "tokenizer_hash": "benchmark",
                "statistics": {},
            }
        )
    return folder


class TrainingStep:
    """The library's compiled training step with its state, driven from outside."""

    def __init__(
        self,
        pair: PairConfig,
        batch_size: int,
        seq_len: int,
        mask_prob: float = 0.15,
        rows: Rows | None = None,
    ) -> None:
        """Compiles; `rows` say what the ids mean (default: synthetic ids, one piece a row)."""
        special = SpecialIds(**rows.special_ids) if rows else SPECIAL
        masking = Masking(
            ElectraSettings(mask_prob=mask_prob),
            special,
            seq_len,
            rows.max_segments if rows else 1,
        )
        objective = ElectraObjective(pair, masking.settings, masking)
        params, _ = jax.eval_shape(objective.init, jax.random.key(0))
        optimizer = build_optimizer(
            params,
            learning_rate_schedule(5e-4, 1_000_000, 10_000),
            {
                "name": "adam_reference",
                "beta1": 0.9,
                "beta2": 0.999,
                "epsilon": 1e-6,
                "weight_decay": 0.01,
                "no_decay": NO_DECAY,
                "clip_norm": 1.0,
            },
        )
        step = make_train_step(objective, optimizer, seed=0)

        def packed(state: Any, batch: Any) -> Any:
            state, sums = step(state, batch)
            return state, pack(sums)

        self.state = jax.jit(lambda: init_state(objective, optimizer, 0))()
        batch = {"input_ids": jax.ShapeDtypeStruct((batch_size, seq_len), np.int32)}
        begin = time.perf_counter()
        self._step = jax.jit(packed, donate_argnums=(0,)).lower(self.state, batch).compile()
        self.compile_seconds = time.perf_counter() - begin
        self.scratch_bytes = int(self._step.memory_analysis().temp_size_in_bytes)
        self._last: Any = None

    def run(self, batch: Mapping[str, Any]) -> None:
        """Dispatches one step; the metrics of the step before are fetched meanwhile."""
        batch = {name: jax.device_put(value) for name, value in batch.items()}
        before = self._last
        self.state, self._last = self._step(self.state, batch)
        if before is not None:
            np.asarray(before)

    def finish(self) -> np.ndarray:
        """Waits for the last step; its metric sums."""
        jax.block_until_ready(self.state)
        return np.asarray(self._last)

    def seconds(self, batches: Iterator[Mapping[str, Any]], steps: int) -> float:
        """Wall seconds of `steps` steps, reading the batches included."""
        begin = time.perf_counter()
        for _ in range(steps):
            self.run(next(batches))
        self.finish()
        return time.perf_counter() - begin


def prepare_host(cache: bool = True) -> None:
    """What `electra-jax pretrain` does before the first computation."""
    keep_freed_memory()
    if cache:
        use_compilation_cache()


def matrix_peak(dtype: str, size: int = 2048, repeats: int = 5) -> float:
    """The best FLOP/s seen here in a product of square matrices."""
    x = jax.numpy.ones((size, size), dtype)
    product = jax.jit(jax.numpy.matmul)
    jax.block_until_ready(product(x, x))
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(product(x, x))
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def peak_flops(dtype: str) -> tuple[float, str]:
    """(FLOP/s, where it comes from): the data sheet's for a known accelerator, else a measured
    matrix product's."""
    kind = jax.devices()[0].device_kind
    for name, peak in PEAKS.items():
        if kind.startswith(name):
            return peak, f"{name} data sheet, dense bf16"
    return matrix_peak(dtype), f"measured here, {dtype} matrix product 2048³"


def machine() -> dict[str, Any]:
    """What a figure depends on beside the program."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "devices": jax.device_count(),
        "cores": len(_affinity()),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def peak_memory() -> dict[str, int]:
    """Peak bytes: of the process on the host, and of the device where it can tell."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"peak_host_bytes": host * (1 if sys.platform == "darwin" else 1024)}
    statistics = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        found["peak_device_bytes"] = int(statistics["peak_bytes_in_use"])
    return found


def _affinity() -> Any:
    import os

    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((s.split(": ")[1] for s in lines if s.startswith("model name")), "cpu")
