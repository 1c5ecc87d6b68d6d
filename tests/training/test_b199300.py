"""Work folders and models that commit b199300 left (tests/training/b199300, see make.py there) go
on and answer as they did, on any machine: to 1e-5, as no two processors round alike."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import environment, metric_rows

from electra_jax.cli import main

MADE = Path(__file__).parent / "b199300"
KINDS = sorted(p.name.split(".")[0] for p in MADE.glob("models/*.answers.jsonl"))
TOLERANCE = 1e-5


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy, as the current folder: paths in it are relative."""
    shutil.copytree(MADE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_close(found, expected):
    """Numbers to the tolerance, everything else exactly."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            check_close(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            check_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
    else:
        assert found == expected


@pytest.mark.parametrize("verb, run", [("pretrain", "run"), ("finetune", "tuning")])
def test_a_stopped_run_goes_on(folder, verb, run):
    expected = json.loads((folder / "expected.json").read_text())
    before = metric_rows(folder / run)
    assert 0 < max(row["step"] for row in before) <= 3
    command = [sys.executable, "-m", "electra_jax", *expected["commands"][verb]]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = metric_rows(folder / run)
    assert [row for row in rows if row["step"] <= 3 and row in before] == before
    losses = [row for row in expected["rows"][verb] if "loss" in row]
    assert [row["step"] for row in losses] == [4, 5, 6]
    found = [row for row in rows if row["step"] > 3]
    times = ("seconds", "tokens_per_second")
    known = [
        {k: v for k, v in row.items() if k in old and k not in times}
        for row, old in zip(found, expected["rows"][verb], strict=True)
    ]
    check_close(known, expected["rows"][verb])
    assert list(folder.glob(f"{run}/model/**/model.safetensors"))


def test_every_kind_is_there():
    assert len(KINDS) >= 12 and {"ner", "question_answering", "lora"} <= set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_model_answers_as_it_did(folder, name):
    arguments = [f"--input=models/{name}.examples.jsonl", "--output=answers.jsonl", "--quiet"]
    assert main(["predict", f"--model=models/{name}", *arguments]) == 0
    expected, found = (
        [json.loads(line) for line in Path(file).read_text().splitlines()]
        for file in (f"models/{name}.answers.jsonl", "answers.jsonl")
    )
    assert len(found) == 4
    check_close(found, expected)
