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


@pytest.mark.parametrize(
    "script", ["h200.py", "loader.py", "pretrain_step.py", "scaling.py", "startup.py"]
)
def test_a_benchmark_has_help_with_its_command(script):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"benchmarks/{script}" in done.stdout
