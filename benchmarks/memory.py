"""What a run prints before its first step about memory, beside what its process takes at most.

    python benchmarks/memory.py --rows ROWS                      # tiny, small at 32 and 128 rows
    python benchmarks/memory.py --finetune                       # MRPC in four batch lengths
    python benchmarks/memory.py --rows ROWS --cells small:64 --set model.remat=full

Each cell is one `electra-jax pretrain` of a few steps (or `finetune`, from random weights of
ELECTRA-Small's shape, on glue_mrpc of the folder $ELECTRA_JAX_DATA), with a checkpoint, an
evaluation and the export; VmHWM of Linux is the process's peak. Of the two figures of a run that
may import TensorFlow, the one that held is taken. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
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
        peak, imported, looks = 0, False, 0
        while process.poll() is None:
            peak, looks = max(peak, _peak(process.pid)), looks + 1
            if looks % 20 == 0:
                imported = imported or _has_tensorflow(process.pid)
            time.sleep(0.02)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(text)
    found: dict[str, Any] = {"measured": peak, "tensorflow": imported}
    for name, pattern in (
        ("step", f"gradients and activations {SIZE}"),
        ("before", f"this process: {SIZE} now"),
        (
            "printed",
            f"at its peak, {SIZE} once" if imported else f"now, about {SIZE} at its peak",
        ),
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


def _has_tensorflow(pid: int) -> bool:
    try:
        return "libtensorflow_framework" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def random_small(folder: Path) -> Path:
    """A model folder of ELECTRA-Small's shape, random weights and the published vocabulary."""
    import jax
    import numpy as np

    from electra_jax.config.model import named_size
    from electra_jax.interop.save import save_model_folder
    from electra_jax.modeling.electra import Inputs, padding_mask
    from electra_jax.modeling.heads.huggingface import Encoder

    vocabulary = _data("vocab/bert-base-uncased_electra-en_vocab.txt")
    (folder / "tokenizer").mkdir()
    shutil.copy(vocabulary, folder / "tokenizer" / "vocab.txt")
    shape = named_size("small").discriminator
    ids = np.zeros((1, 2), np.int32)
    params = jax.jit(Encoder(shape).init)(jax.random.key(0), Inputs(ids, padding_mask(ids + 1)))
    save_model_folder(folder / "start", "encoder", shape, params["params"], folder / "tokenizer")
    return folder / "start"


def _data(name: str) -> Path:
    folder = os.environ.get("ELECTRA_JAX_DATA")
    if not folder:
        raise SystemExit("set ELECTRA_JAX_DATA to the folder of the data sets")
    return Path(folder) / name


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
    parser.add_argument("--finetune", action="store_true", help="a fine-tuning run")
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
                *program, "finetune", "--config=configs/finetune.py:mrpc",
                f"--config.init={random_small(folder)}",
                f"--config.data.path={_data('glue_mrpc/train.jsonl.gz')}",
                f"--config.data.eval_path={_data('glue_mrpc/dev.jsonl.gz')}",
                "--config.data.shapes=4", "--config.train.restarts=0", *shared,
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
            gib = {k: f"{v / 2**30:.2f}" if v else "-" for k, v in row.items() if k != "tensorflow"}
            ratio = row["printed"] / row["measured"] if row["printed"] else float("nan")
            print(
                f"{cell:12} step {gib['step']} GiB; printed peak {gib['printed']}, measured "
                f"{gib['measured']}, ratio {ratio:.2f}"
                f"{' (TensorFlow was imported)' if row['tensorflow'] else ''}",
                flush=True,
            )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
