"""Seconds of `electra-jax --help`, of `import electra_jax`, and from command to first step.

    python benchmarks/startup.py --size=tiny --batch_size=32 --seq_len=64

The first step is timed from the start of `electra-jax pretrain` to the first row of metrics.jsonl,
with an empty compilation cache, then with the one that this run left. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from workload import SPECIAL, synthetic_ids, write_rows

from electra_jax.config import SIZES, named_size


def seconds_of(command: list[str], repeats: int) -> float:
    """The best of some runs: the rest is what else the machine did."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        best = min(best, time.perf_counter() - begin)
    return best


def first_step(a: argparse.Namespace, rows: Path, workdir: Path, cache: Path) -> float:
    """Seconds until metrics.jsonl has a row; the run is ended then."""
    command = [
        *(sys.executable, "-m", "electra_jax", "pretrain", "--quiet"),
        f"--config=configs/pretrain.py:{a.size}",
        f"--workdir={workdir}",
        f"--config.data.path={rows}",
        f"--config.train.batch_size={a.batch_size}",
        "--config.train.steps=1000",
        "--config.train.log_every=1",
    ]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment["XDG_CACHE_HOME"] = str(cache)
    log = workdir.with_suffix(".log")
    begin = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=environment, stderr=stream, stdout=stream)
    metrics = workdir / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.01)
    passed = time.perf_counter() - begin
    process.kill()
    process.wait()
    return passed


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seq_len", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    a = parser.parse_args()
    vocab_size = named_size(a.size).discriminator.vocab_size
    assert SPECIAL.mask < vocab_size
    bare = seconds_of([sys.executable, "-c", ""], a.repeats)
    result = {
        "help_seconds": seconds_of([sys.executable, "-m", "electra_jax", "--help"], a.repeats),
        "import_seconds": seconds_of([sys.executable, "-c", "import electra_jax"], a.repeats)
        - bare,
        "python_seconds": bare,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = synthetic_ids(max(1024, 4 * a.batch_size), a.seq_len, vocab_size)
        rows = write_rows(folder / "rows", ids, vocab_size)
        for kind in ("cold", "cached"):
            result[f"first_step_{kind}_seconds"] = first_step(
                a, rows, folder / kind, folder / "cache"
            )
    for key, value in result.items():
        print(f"{key}: {value:.2f}")
    print(json.dumps(result | {"size": a.size, "batch_size": a.batch_size, "seq_len": a.seq_len}))


if __name__ == "__main__":
    main()
