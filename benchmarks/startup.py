"""Seconds of `electra-jax --help`, of `import electra_jax`, and from command to first step.

    python benchmarks/startup.py --size=tiny --batch_size=32 --seq_len=64
    python benchmarks/startup.py --against=../older --rounds=5      # two checkouts, in turns

The first step is timed from the start of `electra-jax pretrain` to the first row of metrics.jsonl,
with an empty compilation cache, then with the one that this run left; with several rounds the
medians. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from workload import SPECIAL, synthetic_ids, write_rows

from electra_jax.config.model import SIZES, named_size

HERE = Path(__file__).resolve().parents[1]


def environment_of(checkout: Path) -> dict[str, str]:
    """Of processes that run the package of a checkout."""
    return {**os.environ, "PYTHONPATH": str(checkout)}


def seconds_of(command: list[str], repeats: int, checkout: Path) -> float:
    """The best of some runs: the rest is what else the machine did."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=checkout,
            env=environment_of(checkout),
        )
        best = min(best, time.perf_counter() - begin)
    return best


def first_step(
    a: argparse.Namespace, checkout: Path, rows: Path, workdir: Path, cache: Path
) -> float:
    """Seconds until metrics.jsonl has a row; the run is ended then."""
    command = [
        *(sys.executable, "-m", "electra_jax", "pretrain", "--quiet"),
        f"--config=configs/pretrain.py:{a.size}",
        f"--workdir={workdir}",
        f"--config.data.path={rows}",
        f"--config.train.batch_size={a.batch_size}",
        *([f"--config.data.backend={a.backend}"] if a.backend else []),
        "--config.train.steps=1000",
        "--config.train.log_every=1",
    ]
    environment = environment_of(checkout)
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    environment["XDG_CACHE_HOME"] = str(cache)
    log = workdir.with_suffix(".log")
    begin = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, env=environment, stderr=stream, stdout=stream, cwd=checkout
        )
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
    parser.add_argument("--rounds", type=int, default=1, help="first steps, of each checkout")
    parser.add_argument("--against", metavar="DIR", help="another checkout, measured in turns")
    parser.add_argument("--backend", help="data.backend; default: the configuration's")
    a = parser.parse_args()
    vocab_size = named_size(a.size).discriminator.vocab_size
    assert SPECIAL.mask < vocab_size
    checkouts = {"": HERE} | ({"against_": Path(a.against).resolve()} if a.against else {})
    bare = seconds_of([sys.executable, "-c", ""], a.repeats, HERE)
    result = {"python_seconds": bare}
    for name, checkout in checkouts.items():
        overview = [sys.executable, "-m", "electra_jax", "--help"]
        result[f"{name}help_seconds"] = seconds_of(overview, a.repeats, checkout)
        light = [sys.executable, "-c", "import electra_jax"]
        result[f"{name}import_seconds"] = seconds_of(light, a.repeats, checkout) - bare
    first: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ids = synthetic_ids(max(1024, 4 * a.batch_size), a.seq_len, vocab_size)
        rows = write_rows(folder / "rows", ids, vocab_size)
        for number in range(a.rounds):
            for name, checkout in list(checkouts.items())[:: 1 if number % 2 else -1]:
                for kind in ("cold", "cached"):
                    place = folder / f"{name}{kind}-{number}"
                    cache = folder / f"{name}cache-{number}"
                    seconds = first_step(a, checkout, rows, place, cache)
                    first.setdefault(f"{name}first_step_{kind}_seconds", []).append(seconds)
    result |= {key: statistics.median(values) for key, values in first.items()}
    for key, value in result.items():
        print(f"{key}: {value:.2f}")
    shape = {"size": a.size, "batch_size": a.batch_size, "seq_len": a.seq_len}
    print(json.dumps(result | shape | {"each": first}))


if __name__ == "__main__":
    main()
