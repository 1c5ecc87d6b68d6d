"""All measurements on one accelerator in one call of under ten minutes.

    python benchmarks/h200.py --prepare --input 'corpus/*.txt' --output=h200_rows/   # anywhere
    python benchmarks/h200.py --rows=h200_rows/                                      # on the H200
    python benchmarks/h200.py --rows=h200_rows/ --tiny                               # try it: CPU

`--prepare` makes the inputs, under 60 MB: rows of real text of 128 and 512 tokens, one document in
a row, and of 512 tokens with documents packed. The measurements run in order of importance until
the budget is used up; what was left out is named. For base and large at length 512 and small at
128, bf16, loader on: attention dropout 0 with cuDNN's attention at several batch sizes; the
PyTorch peer beside us at the best of them; the published recipe (attention dropout .1, XLA's
attention); and packed rows, whose mask cuDNN reads as a bias. Prints a table; the last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FOLDER_BYTES = 19_000_000  # of each of the three rows folders

# Rows folder → length, most documents in a row.
INPUTS: dict[str, tuple[int, int | None]] = {
    "single-128": (128, 1),
    "single-512": (512, 1),
    "packed-512": (512, None),
}
# Size → its rows, batch sizes to try, extra flags. A deep network is scanned: it compiles sooner.
CELLS: dict[str, tuple[str, tuple[int, ...], tuple[str, ...]]] = {
    "base": ("single-512", (128, 64), ("--unroll",)),
    "large": ("single-512", (64, 32), ()),
    "small": ("single-128", (1024, 512), ("--unroll",)),
}


def prepare_inputs(inputs: list[str], tokenizer: str | None, output: Path) -> None:
    """Writes the three rows folders from text, with a WordPiece vocabulary of 30,522 unless a
    tokenizer is given."""
    import numpy as np
    from workload import SpecialIds, write_rows

    from electra_jax.data.rows import Rows
    from electra_jax.preparation.prepare import prepare
    from electra_jax.text.vocabulary import train_vocabulary

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if tokenizer is None:
            train_vocabulary(inputs, "wordpiece", 30522, scratch / "tokenizer")
            tokenizer = str(scratch / "tokenizer")
        for folder, (seq_len, segments) in INPUTS.items():
            prepare(
                inputs,
                tokenizer,
                scratch / folder,
                seq_len=seq_len,
                max_segments=segments,
                eval_fraction=0.0,
            )
            rows = Rows.open(scratch / folder)
            ids = rows.take(np.arange(min(rows.count, FOLDER_BYTES // (2 * seq_len))))
            special = SpecialIds(**rows.special_ids)
            write_rows(output / folder, ids, rows.vocab_size, special, rows.max_segments)
            print(f"{output / folder}: {len(ids):,} rows of {seq_len}")


class Budget:
    """Runs benchmarks one after the other while there is time."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.results: dict[str, Any] = {}
        self.left_out: dict[str, str] = {}

    def run(self, name: str, script: str, flags: list[str], needs: float) -> dict[str, Any] | None:
        """The last line of a benchmark; None where the time was too short (`needs` seconds at
        least) or it failed."""
        left = self._end - time.monotonic()
        if left < needs:
            self.left_out[name] = "no time left"
            return None
        command = [sys.executable, str(HERE / script), *flags]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            self.left_out[name] = "the time ran out"
            return None
        if done.returncode:
            self.left_out[name] = (done.stderr.strip().splitlines() or ["?"])[-1][:300]
            print(f"{name}: {self.left_out[name]}", flush=True)
            return None
        found = json.loads(done.stdout.splitlines()[-1])
        self.results[name] = {"flags": flags, **found}
        if "ratio" in found:
            print(f"{name}: {found['ratio']:.2f} × {found['peer']}", flush=True)
        else:
            print(
                f"{name}: {found['tokens_per_second']:,.0f} tokens/s, "
                f"MFU {found['mfu']:.1%}, {found['step_seconds'] * 1e3:.2f} ms a step",
                flush=True,
            )
        return found


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """Everything, in order of importance."""
    budget = Budget(a.seconds)
    fused = [f"--attention={'xla' if a.tiny else 'cudnn'}", "--attention_dropout=0"]
    common = ["--dtype=bfloat16"]
    rounds = ["--rounds=5", "--steps=10", "--warmup=5"]
    if a.tiny:
        common += ["--layers=1"]
        rounds = ["--rounds=1", "--steps=1", "--warmup=1"]
    best: dict[str, int] = {}
    for size, (rows, batches, flags) in CELLS.items():
        shape = [_size(a, size), f"--rows={a.rows / rows}"]
        mine = [*shape, *common, *flags, *fused, *rounds]
        rates = {}
        for batch in (2, 1) if a.tiny else batches:
            name = f"{size} {rows} batch {batch}"
            found = budget.run(name, "pretrain_step.py", [*mine, f"--batch_size={batch}"], 40)
            if found:
                rates[batch] = found["tokens_per_second"]
        if rates:
            best[size] = max(rates, key=rates.__getitem__)
    turns = ["--pairs=5", "--units=5", "--warmup=5", "--peers", "compile"]
    if a.tiny:
        turns = ["--pairs=1", "--units=1", "--warmup=1", "--peers", "eager"]
    for size, batch in best.items():
        rows, _, flags = CELLS[size]
        shape = [_size(a, size), f"--batch_size={batch}", f"--seq_len={INPUTS[rows][0]}"]
        mine = [*shape, *common, *flags, *fused, *turns]
        budget.run(f"{size} {rows} beside PyTorch", "vs_huggingface.py", mine, 60)
    for size, batch in best.items():
        rows, _, flags = CELLS[size]
        shape = [_size(a, size), f"--rows={a.rows / rows}", f"--batch_size={batch}"]
        mine = [*shape, *common, *flags, *rounds]
        budget.run(f"{size} {rows} published recipe", "pretrain_step.py", mine, 40)
    if "base" in best:
        shape = [_size(a, "base"), f"--rows={a.rows / 'packed-512'}"]
        shape += [f"--batch_size={best['base']}"]
        mine = [*shape, *common, *CELLS["base"][2], *fused, *rounds]
        budget.run("base packed-512", "pretrain_step.py", mine, 40)
    return {"results": budget.results, "left_out": budget.left_out}


def _size(a: argparse.Namespace, size: str) -> str:
    return f"--size={'small' if a.tiny else size}"


def main() -> None:
    """Prepares or measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--input", nargs="+", metavar="GLOB")
    parser.add_argument("--tokenizer", metavar="DIR")
    parser.add_argument("--output", type=Path, default=Path("h200_rows"))
    parser.add_argument("--rows", type=Path, default=Path("h200_rows"))
    parser.add_argument("--seconds", type=float, default=570, help="the budget")
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="one layer of small for every size, batch 1 and 2, no cuDNN",
    )
    a = parser.parse_args()
    if a.prepare:
        if not a.input:
            parser.error("--prepare needs --input")
        prepare_inputs(a.input, a.tokenizer, a.output)
    else:
        print(json.dumps(measure(a)))


if __name__ == "__main__":
    main()
