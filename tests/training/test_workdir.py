"""The work folder: one run at a time, one configuration."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from electra_jax.config.fields import field
from electra_jax.config.resolved import Config
from electra_jax.errors import UserError
from electra_jax.files import write_json_atomic
from electra_jax.training.workdir import (
    RunLock,
    config_differences,
    load_or_check_config,
    recorded_config,
    resumed_config,
)

ROOT = Path(__file__).resolve().parents[2]

HOLDS_THE_LOCK = """
import sys, time
from electra_jax.training.workdir import RunLock
with RunLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def start_a_run(workdir: Path) -> subprocess.Popen:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LOCK, str(workdir)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "held"
    return child


def test_a_second_run_is_refused_by_pid_and_host_and_a_killed_one_does_not_block(tmp_path):
    with start_a_run(tmp_path / "run") as child:
        with pytest.raises(UserError) as error:
            RunLock(tmp_path / "run").acquire()
        assert f"pid {child.pid} on host {os.uname().nodename}" in str(error.value)
        assert str(tmp_path / "run") in str(error.value)
        child.send_signal(signal.SIGKILL)
    with RunLock(tmp_path / "run"):
        pass


def test_two_locks_of_one_process_exclude_each_other(tmp_path):
    with RunLock(tmp_path):
        with pytest.raises(UserError, match=f"pid {os.getpid()} on host"):
            RunLock(tmp_path).acquire()
    with RunLock(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_does_not_hold_the_lock_for_its_parent(tmp_path):
    """The parent is gone, its data worker is not: the folder is free."""
    script = """
import os, sys, time
from electra_jax.training.workdir import RunLock
RunLock(sys.argv[1]).acquire()
pid = os.fork()
if pid == 0:
    os.close(1)
    time.sleep(60)
else:
    print(pid, flush=True)
    os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    worker = int(done.stdout)
    try:
        os.kill(worker, 0)
        with RunLock(tmp_path):
            assert f"pid {os.getpid()} " in (tmp_path / ".lock").read_text()
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_workdir_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write the workdir"):
        RunLock(tmp_path / "file" / "run").acquire()


# The configuration

CONFIG = {
    "model": {"size": "tiny", "betas": (0.9, 0.999)},
    "train": {"steps": 100, "log_every": 10, "dtype": None},
    "mesh": {},
}


def test_the_first_run_writes_its_config_and_the_same_one_resumes(tmp_path):
    assert load_or_check_config(tmp_path, CONFIG) == {}
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert written["model"] == {"size": "tiny", "betas": [0.9, 0.999]}
    before = (tmp_path / "config.json").stat().st_mtime_ns
    assert load_or_check_config(tmp_path, CONFIG) == {}
    assert (tmp_path / "config.json").stat().st_mtime_ns == before


def test_a_run_without_a_checkpoint_takes_another_config(tmp_path):
    load_or_check_config(tmp_path, CONFIG)
    other = {**CONFIG, "mesh": {"data": 2}}
    assert load_or_check_config(tmp_path, other) == {
        "mesh": ({}, "(absent)"),
        "mesh.data": ("(absent)", 2),
    }
    assert load_or_check_config(tmp_path, other) == {}
    with pytest.raises(UserError, match="mesh"):
        load_or_check_config(tmp_path, CONFIG, remote=True)
    for kept in ("model", "best.json", "failed-1"):
        (tmp_path / kept).mkdir()
        with pytest.raises(UserError, match="mesh"):
            load_or_check_config(tmp_path, CONFIG)
        (tmp_path / kept).rmdir()


def test_a_config_that_cannot_resume_is_refused_with_the_difference_and_kept(tmp_path):
    load_or_check_config(tmp_path, CONFIG)
    (tmp_path / "checkpoints/10").mkdir(parents=True)
    before = (tmp_path / "config.json").read_text(encoding="utf-8")
    other = {
        "model": {"size": "small", "betas": [0.9, 0.98]},
        "train": {"steps": 100, "log_every": 20, "dtype": None, "seed": 3},
    }
    with pytest.raises(UserError) as error:
        load_or_check_config(tmp_path, other, may_change=["train.log_every"])
    lines = str(error.value).splitlines()
    assert str(tmp_path) in lines[0]
    assert lines[1:-1] == [
        "  mesh: {} → (absent)",
        "  model.betas: [0.9, 0.999] → [0.9, 0.98]",
        '  model.size: "tiny" → "small"',
        "  train.seed: (absent) → 3",
    ]
    assert "--workdir" in lines[-1]
    assert (tmp_path / "config.json").read_text(encoding="utf-8") == before


def test_an_allowed_change_is_accepted_returned_and_written(tmp_path):
    load_or_check_config(tmp_path, CONFIG)
    other = {**CONFIG, "train": {"steps": 200, "log_every": 20, "dtype": None}}
    allowed = [r"train\.(log|eval)_every", r"train\.steps"]
    assert load_or_check_config(tmp_path, other, may_change=allowed) == {
        "train.log_every": (10, 20),
        "train.steps": (100, 200),
    }
    assert load_or_check_config(tmp_path, other) == {}


def test_a_pattern_has_to_match_the_whole_key(tmp_path):
    load_or_check_config(tmp_path, {"train": {"steps_max": 1}})
    (tmp_path / "checkpoints/10").mkdir(parents=True)
    with pytest.raises(UserError, match=r"train\.steps_max: 1 → 2"):
        load_or_check_config(tmp_path, {"train": {"steps_max": 2}}, may_change=["train.steps"])


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_config_file_that_cannot_be_read_is_named(tmp_path, text):
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=f"cannot read {tmp_path}/config.json"):
        load_or_check_config(tmp_path, CONFIG)


def test_values_that_python_calls_equal_and_json_does_not_are_a_difference():
    old, new = {"a": 1, "b": True, "c": 2}, {"a": 1.0, "b": 1, "c": 2}
    assert config_differences(old, new) == {"a": (1, 1.0), "b": (True, 1)}


# What a run goes on with


@dataclasses.dataclass(frozen=True)
class Settings:
    size: str = field("s", "name")
    smooth: float = field(0.1, "new", when_absent=0.0)


def test_a_field_that_the_file_lacks_is_compared_as_what_its_absence_means(tmp_path):
    load_or_check_config(tmp_path, {"size": "s"})
    (tmp_path / "checkpoints/10").mkdir(parents=True)
    same = {"size": "s", "smooth": 0.0}
    assert load_or_check_config(tmp_path, same, absent={"smooth": 0.0}) == {}
    with pytest.raises(UserError, match=r"smooth: 0\.0 → 0\.1"):
        load_or_check_config(tmp_path, {**same, "smooth": 0.1}, absent={"smooth": 0.0})
    with pytest.raises(UserError, match=r"smooth: \(absent\) → 0\.0"):
        load_or_check_config(tmp_path, same)


def test_only_a_run_that_has_something_to_resume_has_a_recorded_configuration(tmp_path):
    assert recorded_config(tmp_path) is None
    load_or_check_config(tmp_path, {"size": "s"})
    assert recorded_config(tmp_path) is None
    assert recorded_config(tmp_path, remote=True) == {"size": "s"}
    (tmp_path / "checkpoints/10").mkdir(parents=True)
    assert recorded_config(tmp_path) == {"size": "s"}


def test_between_two_attempts_the_last_one_s_configuration_counts(tmp_path):
    for number in (2, 9, 10):
        (tmp_path / f"failed-{number}").mkdir()
        (tmp_path / "failed-1").mkdir(exist_ok=True)
        write_json_atomic(tmp_path / f"failed-{number}/config.json", {"number": number})
    (tmp_path / "failed-11.partial").mkdir()
    assert recorded_config(tmp_path) == {"number": 10}
    write_json_atomic(tmp_path / "config.json", {"number": 0})
    assert recorded_config(tmp_path) == {"number": 0}


def test_a_new_run_has_the_default_and_an_older_one_what_changes_nothing():
    config = Config({"size": "s", "smooth": 0.1})
    assert resumed_config(config, None, Settings)["smooth"] == 0.1
    assert resumed_config(config, {"size": "s"}, Settings)["smooth"] == 0.0
    assert resumed_config(config, {"size": "s", "smooth": 0.3}, Settings)["smooth"] == 0.1
    given = Config({"size": "s", "smooth": 0.1}, ["smooth"])
    assert resumed_config(given, {"size": "s"}, Settings)["smooth"] == 0.1
