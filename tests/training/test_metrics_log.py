"""The log of figures: valid JSON, each step once, the same in TensorBoard and W&B."""

import json
import math
import os
import subprocess
import sys
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.training.metrics_log import MetricsLog, columns, read_rows

ROOT = Path(__file__).resolve().parents[2]


def run(workdir, begin: int, end: int, *, resume_step: int | None = None, **options) -> None:
    """A run that logs every step and evaluates every second one, before it saves and goes on."""
    with MetricsLog(
        workdir, resume_step=begin if resume_step is None else resume_step, **options
    ) as log:
        for step in range(begin, end + 1):
            if step > begin:
                log.write({"step": step, "loss": 10.0 - step, "rtd_skill": step / 100})
            if step % 2 == 0:
                log.write({"step": step, "eval_loss": 11.0 - step, "eval_rtd_skill": step / 200})


def test_rows_are_one_object_a_line(tmp_path):
    with MetricsLog(tmp_path, resume_step=0, tensorboard=False) as log:
        log.write({"step": np.int64(1), "loss": jnp.float32(1.5), "tokens": 7, "phase": "é"})
        # read while the run is under way: nothing is held back
        assert read_rows(tmp_path) == [{"step": 1, "loss": 1.5, "tokens": 7, "phase": "é"}]
        log.write({"step": 2, "loss": np.float64(0.25), "learned": True, "note": None})
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == read_rows(tmp_path)
    assert json.loads(lines[1]) == {"step": 2, "loss": 0.25, "learned": True, "note": None}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), jnp.inf])
def test_what_is_not_finite_is_null_and_the_line_strict_json(tmp_path, value):
    with MetricsLog(tmp_path, resume_step=0) as log:
        log.write({"step": 1, "loss": value, "good": 1.0})

    def refuse(word):
        raise AssertionError(word)

    text = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == {"step": 1, "loss": None, "good": 1.0}


@pytest.mark.parametrize(
    "row", [{"loss": 1.0}, {"step": 1.5}, {"step": 1, "loss": np.ones(2)}, {"step": 1, "x": {}}]
)
def test_a_row_that_is_none_is_a_type_error_and_writes_nothing(tmp_path, row):
    with MetricsLog(tmp_path, resume_step=0, tensorboard=False) as log:
        with pytest.raises(TypeError):
            log.write(row)
    assert read_rows(tmp_path) == []


def test_after_a_resumption_the_log_is_that_of_an_uninterrupted_run(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for workdir in (whole, cut):
        workdir.mkdir()
    run(whole, 0, 9)
    run(cut, 0, 7)  # stopped after step 7; the newest checkpoint is that of step 4
    with open(cut / "metrics.jsonl", "ab") as stream:
        stream.write(b'{"step": 8, "lo')  # killed in the middle of a line
    run(cut, 4, 9)
    assert (cut / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    steps = [(row["step"], "eval_loss" in row) for row in read_rows(cut)]
    assert len(steps) == len(set(steps)) == 9 + 5


def test_a_run_that_begins_anew_keeps_nothing_of_later_steps(tmp_path):
    run(tmp_path, 0, 5)
    run(tmp_path, 0, 3)
    assert max(row["step"] for row in read_rows(tmp_path)) == 3
    assert [row["step"] for row in read_rows(tmp_path) if "eval_loss" in row] == [0, 2]


def test_a_foreign_line_in_the_middle_is_dropped_with_a_warning(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2}\nnot a row\n{"step": 2, "loss": 1}\n')
    MetricsLog(tmp_path, resume_step=2, tensorboard=False).close()
    assert [row["step"] for row in read_rows(tmp_path)] == [1, 2]
    assert f"{path}: line 2 is not a row" in caplog.text


def test_a_full_disk_is_a_user_error(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with MetricsLog(tmp_path, resume_step=0, tensorboard=False) as log:
        log._stream.close()
        log._stream = open("/dev/full", "ab", buffering=0)
        with pytest.raises(UserError, match=r"cannot write .*No space left"):
            log.write({"step": 1, "loss": 1.0})


def test_an_unwritable_workdir_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        MetricsLog(tmp_path / "missing", resume_step=0, tensorboard=False)


# TensorBoard


READ_TENSORBOARD = """
import json, os, sys, types
# TensorBoard's own reader, by its own stand-in for TensorFlow
sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = {}
for name in sorted(os.listdir(sys.argv[1] + "/tensorboard")):
    events = EventAccumulator(sys.argv[1] + "/tensorboard/" + name, size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        found[name + "/" + tag] = [[event.step, event.value] for event in events.Scalars(tag)]
print(json.dumps(found))
"""


def read_tensorboard(workdir: Path) -> dict[str, list[list[float]]]:
    done = subprocess.run(
        [sys.executable, "-c", READ_TENSORBOARD, str(workdir)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_tensorboard_reads_each_step_once_after_a_resumption(tmp_path, monkeypatch):
    run(tmp_path, 0, 7)
    monkeypatch.setattr("time.time", lambda: 1000.0)  # the clock was set back
    run(tmp_path, 4, 9)
    found = read_tensorboard(tmp_path)
    assert set(found) == {"train/loss", "train/rtd_skill", "eval/loss", "eval/rtd_skill"}
    assert found["train/loss"] == [[step, 10.0 - step] for step in range(1, 10)]
    assert found["eval/loss"] == [[step, 11.0 - step] for step in range(0, 10, 2)]


def test_tensorboard_gets_numbers_only(tmp_path):
    with MetricsLog(tmp_path, resume_step=0) as log:
        log.write({"step": 1, "loss": 2.0, "bad": math.nan, "phase": "warm-up", "flag": True})
    assert read_tensorboard(tmp_path) == {"train/loss": [[1, 2.0]]}


def test_tensorboard_files_are_written_without_tensorflow(tmp_path):
    script = """
import sys
from electra_jax.training.metrics_log import MetricsLog
with MetricsLog(sys.argv[1], resume_step=0) as log:
    log.write({"step": 1, "loss": 2.0})
print(sorted({"tensorflow", "torch", "orbax", "jax"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == "[]"
    assert list((tmp_path / "tensorboard" / "train").iterdir())


def test_no_tensorboard_folder_unless_asked_for(tmp_path):
    run(tmp_path, 0, 3, tensorboard=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_missing_tensorboard_is_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(UserError, match=r"`tensorboard` is missing"):
        MetricsLog(tmp_path, resume_step=0)


# Weights & Biases, through a stand-in that keeps what it is given


@pytest.fixture
def wandb(monkeypatch):
    class Run:
        def __init__(self, arguments):
            self.arguments, self.logged, self.finished = arguments, [], False

        def log(self, figures, step):
            self.logged.append((step, figures))

        def finish(self):
            self.finished = True

    module = types.ModuleType("wandb")
    module.runs = []

    def init(**arguments):
        module.runs.append(Run(arguments))
        return module.runs[-1]

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_a_resumed_run_is_the_same_one_at_weights_and_biases(tmp_path, wandb):
    for begin in (0, 2):
        run(tmp_path, begin, 3, tensorboard=False, wandb={"project": "electra"})
    first, second = wandb.runs
    assert first.arguments == second.arguments
    assert first.arguments["project"] == "electra"
    assert first.arguments["resume"] == "allow"
    assert first.arguments["dir"] == str(tmp_path)
    assert second.logged == [(3, {"loss": 7.0, "rtd_skill": 0.03})]
    assert first.finished and second.finished


def test_weights_and_biases_not_installed_is_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="pip install wandb"):
        MetricsLog(tmp_path, resume_step=0, wandb={})


def test_weights_and_biases_that_does_not_start_is_a_user_error(tmp_path, wandb):
    def init(**_):
        raise RuntimeError("api_key not configured")

    wandb.init = init
    with pytest.raises(UserError, match="did not start: api_key not configured"):
        MetricsLog(tmp_path, resume_step=0, wandb={})


# Columns


def test_columns_have_every_numeric_key_by_step():
    rows = [
        {"step": 2, "loss": 2.0, "name": "a"},
        {"step": 1, "loss": 3.0, "flag": True},
        {"step": 3, "loss": None, "never": None},
        {"step": 3, "eval_f1": 0.5},
    ]
    assert columns(rows) == {
        "loss": ([1, 2, 3], [3.0, 2.0, None]),
        "eval_f1": ([3], [0.5]),
    }
