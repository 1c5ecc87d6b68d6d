"""What a run prints before its first step about memory, beside what its process takes at most.

    python benchmarks/memory.py --rows ROWS                      # tiny, small at 32 and 128 rows
    python benchmarks/memory.py --finetune MODEL --data FILE     # a fine-tuning run
    python benchmarks/memory.py --rows ROWS --cells small:64 --set model.remat=full

Each cell is one `electra-jax pretrain` of a few steps, with a checkpoint, an evaluation and the
export; VmHWM of Linux is the process's peak. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
SIZE = r"([\d.]+) (B|KiB|MiB|GiB)"


def measure(command: list[str]) -> dict[str, Any]:
    """Runs a command; what it printed about memory and the peak of its process, in bytes."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _peak(process.pid))
            time.sleep(0.02)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(text)
    found: dict[str, Any] = {"measured": peak}
    for name, pattern in (
        ("step", f"gradients and activations {SIZE}"),
        ("before", f"this process: {SIZE} now"),
        ("printed", f"now, about {SIZE} at its peak"),
    ):
        values = [float(n) * UNITS[u] for n, u in re.findall(pattern, text)]
        found[name] = max(values, default=None)
    return found


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(s.split()[1]) << 10 for s in lines if s.startswith("VmHWM")), 0)


def main() -> None:
    """Measures each cell and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", nargs="*", default=["tiny:32", "small:32", "small:128"],
                        metavar="SIZE:BATCH")  # fmt: skip
    parser.add_argument("--rows", help="a rows folder, made by `electra-jax prepare`")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--finetune", metavar="MODEL")
    parser.add_argument("--data", help="training file, of two columns text and label")
    a = parser.parse_args()
    shared = ["--config.train.tensorboard=False", f"--config.train.steps={a.steps}"]
    shared += [f"--config.{override}" for override in a.set]
    program = [sys.executable, "-m", "electra_jax"]
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        commands = {}
        if a.finetune:
            commands["finetune"] = [
                *program, "finetune", "--config=configs/finetune.py:classification",
                f"--config.init={a.finetune}", f"--config.data.path={a.data}",
                f"--config.data.eval_path={a.data}",
                "--config.data.train_examples=2000", *shared,
            ]  # fmt: skip
        else:
            for cell in a.cells:
                size, batch = cell.split(":")
                commands[cell] = [
                    *program, "pretrain", f"--config=configs/pretrain.py:{size}",
                    f"--config.data.path={a.rows}", f"--config.train.batch_size={batch}",
                    "--config.train.checkpoint_every=3", *shared,
                ]  # fmt: skip
        for number, (cell, command) in enumerate(commands.items()):
            found[cell] = measure([*command, f"--workdir={folder / str(number)}"])
            row = found[cell]
            gib = {k: f"{v / 2**30:.2f}" if v else "-" for k, v in row.items()}
            ratio = row["printed"] / row["measured"] if row["printed"] else float("nan")
            print(
                f"{cell:12} step {gib['step']} GiB; printed peak {gib['printed']}, measured "
                f"{gib['measured']}, ratio {ratio:.2f}",
                flush=True,
            )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
