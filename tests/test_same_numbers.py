"""The instrument of tests/same_numbers.py on some scenarios: what this tree computes is what the
base computed, bit for bit; and it says so where it is not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from same_numbers import BASE

ROOT = Path(__file__).resolve().parents[1]
CHOSEN = ("pretrain/masked_lm-bert", "finetune/lora", "resume/pretrain")


def known(root):
    done = subprocess.run(
        ["git", "-C", str(root), "cat-file", "-e", f"{BASE}^{{commit}}"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def run(root, *words):
    return subprocess.run(
        [sys.executable, str(root / "tests" / "same_numbers.py"), *words],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_no_number_has_changed():
    if not known(ROOT):
        pytest.skip(f"no git checkout that knows {BASE}")
    done = run(ROOT, *CHOSEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(name in done.stdout for name in CHOSEN) and "DIFFERENT" not in done.stdout


@pytest.mark.slow
def test_a_planted_change_is_seen(tmp_path):
    """In a clone of this tree: the optimizer's epsilon."""
    if not known(ROOT):
        pytest.skip(f"no git checkout that knows {BASE}")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(clone)], check=True)
    for name in ("electra_jax", "configs", "tests"):  # the tree as it lies, not as committed
        shutil.rmtree(clone / name)
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    config = clone / "electra_jax" / "config" / "training.py"
    text, default = config.read_text(), "epsilon: float = field(1e-6,"
    assert text.count(default) == 1
    config.write_text(text.replace(default, default.replace("1e-6", "1e-7")))
    done = run(clone, "pretrain/masked_lm-bert")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "DIFFERENT: program jit_train_step is not compiled by new code" in done.stdout
    assert "run/checkpoints" in done.stdout


def test_what_cannot_be_compared_is_said():
    done = run(ROOT, "--list", "no-such-scenario")
    assert done.returncode == 2 and "no scenario's name has 'no-such-scenario'" in done.stderr
    assert run(ROOT, "--list", "finetune/ner").stdout == "finetune/ner\n"
