"""The benchmarks that need nothing but the package run, and say what they promise to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHAPE = ["--size=tiny", "--layers=1", "--batch_size=4", "--seq_len=16"]


def test_the_step_benchmark_ends_with_one_object_and_needs_no_tensorflow():
    script = f"""
import sys
for name in ("tensorflow", "ml_collections", "torch"):
    sys.modules[name] = None
sys.path.insert(0, {str(BENCHMARKS)!r})
sys.argv = ["pretrain_step.py", *{[*SHAPE, "--rounds=1", "--steps=1", "--warmup=1"]!r}]
import pretrain_step
pretrain_step.main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["tokens_per_second"] == pytest.approx(4 * 16 / found["step_seconds"])
    rate = found["tokens_per_second"] * found["model_flops_per_token"]
    assert found["mfu"] == pytest.approx(rate / found["peak_flops"])
    assert found["loader"] and found["fill"] == 1.0 and found["context"] == 16


def test_tokens_are_counted_over_all_rows_and_those_attended_to_over_random_ones(tmp_path):
    """Rows in order of their length, two pieces in each: the first rows alone would mislead."""
    script = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from pretrain_step import row_fill
from workload import SPECIAL, write_rows
from electra_jax.data.rows import Rows
ids = np.zeros((6000, 16), np.int32)
for row, filled in zip(ids, np.linspace(4, 16, 6000).astype(int)):
    row[:filled] = 1000
    row[0] = row[2] = SPECIAL.cls
    row[1] = row[filled - 1] = SPECIAL.sep
rows = Rows.open(write_rows(Path(sys.argv[2]), ids, 2000, max_segments=2))
fill, context = row_fill(rows)
lengths = (ids > 0).sum(1) - 2
print(fill - (ids > 0).mean(), context - (4 + lengths**2).sum() / (2 + lengths).sum())
"""
    command = [sys.executable, "-c", script, str(BENCHMARKS), str(tmp_path / "rows")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fill, context = map(float, done.stdout.split())
    assert fill == 0 and abs(context) < 0.1


def test_a_comparison_is_of_rounds_and_of_the_best_peer(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    import vs_huggingface

    times = {
        "electra_jax": iter([9.0, 1.0, 2.0, 1.0]),
        "eager": iter([9.0, 3.0, 3.0, 3.0]),
        "compile": iter([9.0, 2.0, 2.2, 8.0]),
    }

    class Stub:
        def __init__(self, a, name):
            self.name = name

        def seconds(self, count):
            return next(times[self.name])

        def stop(self):
            pass

    monkeypatch.setattr(vs_huggingface, "Contestant", Stub)
    a = vs_huggingface.parser().parse_args(["--pairs=3", "--peers", "eager", "compile"])
    found = vs_huggingface.compare(a)
    assert found["peer"] == "compile" and found["seconds"]["electra_jax"] == 1.0
    assert found["ratios"] == {"eager": [3.0, 1.5, 3.0], "compile": [2.0, 1.1, 8.0]}
    assert found["ratio"] == 2.0 and found["machine"]["torch"]


@pytest.mark.parametrize(
    "script",
    [
        "accelerator.py",
        "loader.py",
        "pretrain_step.py",
        "scaling.py",
        "startup.py",
        "vs_huggingface.py",
    ],
)
def test_a_benchmark_has_help_with_its_command(script):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"benchmarks/{script}" in done.stdout
