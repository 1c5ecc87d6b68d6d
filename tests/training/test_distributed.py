"""Several processes, one run: the same numbers, one writer, stopping at the same step."""

import os
import re
import signal
import subprocess
import time

import pytest
from processes import Pair
from tiny_run import command, environment, make_rows, metric_rows, run

from electra_jax.errors import UserError
from electra_jax.training import distributed
from electra_jax.training.workdir import RunLock

# Long enough that a signal, of which JAX tells the others within a second or two, meets a run.
STEPS = 120
LONGER = f"--config.train.steps={STEPS}"
NOT_COMPARED = ("step", "tokens_per_second", "seconds")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def alone(rows, tmp_path_factory):
    """The rows of metrics of a run in one process, never stopped."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    done = run(rows, workdir, LONGER)
    assert done.returncode == 0, done.stderr
    return metric_rows(workdir)


def saved(workdir):
    folder = workdir / "checkpoints"
    return (
        sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.exists() else []
    )


def check_same(workdir, alone):
    """The same rows up to rounding: sums over two processes are added in another order."""
    here = metric_rows(workdir)
    assert [(r["step"], sorted(r)) for r in here] == [(r["step"], sorted(r)) for r in alone]
    for row, other in zip(here, alone, strict=True):
        for key in row.keys() - set(NOT_COMPARED):
            tolerance = 1e-4 if key.endswith("gradient_norm") else 1e-5
            assert row[key] == pytest.approx(other[key], rel=tolerance, abs=1e-5), (
                row["step"],
                key,
            )


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [
        (signal.SIGTERM, 143, "SIGTERM"),
        pytest.param(signal.SIGINT, 130, "Ctrl-C", marks=pytest.mark.faults),
    ],
)
def test_a_signal_to_one_of_two_stops_both_at_a_step_that_one_process_resumes(
    rows, alone, tmp_path, monkeypatch, number, code, name
):
    workdir = tmp_path / "run"
    seldom = "--config.train.checkpoint_every=1000"
    with Pair(rows, workdir, LONGER, seldom) as pair:
        pair.wait_until(lambda: len(metric_rows(workdir)) >= 3)  # step 0's evaluation is one
        pair.processes[1].send_signal(number)
        codes = pair.codes()
        assert codes == [code, code], pair.told(0) + pair.told(1)
        assert f"{name}: saved step" in pair.told(0)
        assert "saved step" not in pair.told(1)  # one of them talks
    (step,) = saved(workdir)
    assert 8 < step < STEPS
    monkeypatch.setenv("JAX_LOG_COMPILES", "1")
    done = run(rows, workdir, LONGER, seldom)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Compiling jit(train_step)") == 1  # resumed, too
    check_same(workdir, alone)


@pytest.mark.faults
def test_two_processes_give_the_numbers_of_one(rows, alone, tmp_path):
    workdir = tmp_path / "run"
    clocked = ("--config.train.checkpoint_every=1000", "--config.train.checkpoint_minutes=1e-4")
    with Pair(rows, workdir, LONGER, *clocked) as pair:
        pair.wait_until(lambda: saved(workdir))  # by the first process's clock
        assert pair.codes() == [0, 0], pair.told(0) + pair.told(1)
        assert "memory of one device" in pair.told(0) and pair.told(1) == ""
    assert len(saved(workdir)) == 3
    check_same(workdir, alone)
    assert (workdir / "report.html").exists()


@pytest.mark.faults
def test_one_process_killed_is_resumed_by_two(rows, alone, tmp_path):
    workdir = tmp_path / "run"
    with subprocess.Popen(
        command(rows, workdir, LONGER), env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        while not saved(workdir):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.005)
        process.kill()
    with Pair(rows, workdir, LONGER) as pair:
        assert pair.codes() == [0, 0], pair.told(0) + pair.told(1)
    check_same(workdir, alone)


@pytest.mark.faults
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_of_two_is_killed_the_other_ends_and_says_why(rows, alone, tmp_path, victim):
    workdir = tmp_path / "run"
    with Pair(rows, workdir, LONGER) as pair:
        pair.wait_until(lambda: saved(workdir))
        pair.processes[victim].kill()
        codes = pair.codes()
        assert codes[victim] == -signal.SIGKILL
        assert codes[1 - victim] not in (0, 2, 143), pair.told(1 - victim)
        assert re.search("another (process|task)", pair.told(1 - victim).replace("\n", " "))
    done = run(rows, workdir, LONGER)  # the other way round: two killed, one resumes
    assert done.returncode == 0, done.stderr
    check_same(workdir, alone)


@pytest.mark.faults
def test_an_error_in_one_process_ends_both(rows, tmp_path):
    """The workdir is in use: the first process notices, both say so."""
    workdir = tmp_path / "run"
    with RunLock(workdir), Pair(rows, workdir, LONGER) as pair:
        assert pair.codes() == [2, 2]
        for number in range(2):
            assert f"pid {os.getpid()}" in pair.told(number)
            assert "Traceback" not in pair.told(number)


# How the others are found


@pytest.fixture
def joining(monkeypatch):
    """What `jax.distributed.initialize` would be called with."""
    calls = []
    monkeypatch.setattr(distributed.jax.distributed, "initialize", lambda **k: calls.append(k))
    for name in ("SLURM_STEP_NUM_TASKS", "TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(distributed.os.path, "exists", lambda path: False)
    return calls


def test_a_process_stays_alone_where_nothing_says_otherwise(joining, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost")
    with distributed.joined():
        assert distributed.on_first(lambda: [1]) == [1] and distributed.all_agree(True)
    assert joining == []


def test_slurm_tpu_and_flags_are_told_apart(joining, monkeypatch):
    with distributed.joined("host:1234", 4, 3):
        pass
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "16")
    with distributed.joined(), distributed.joined(num_processes=1):
        pass
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a,b")
    with distributed.joined():  # the tests run on JAX_PLATFORMS=cpu
        pass
    monkeypatch.setenv("JAX_PLATFORMS", "tpu,cpu")
    with distributed.joined():
        pass
    by_hand = {"coordinator_address": "host:1234", "num_processes": 4, "process_id": 3}
    assert joining == [
        {**by_hand, "cluster_detection_method": "deactivate"},
        {"cluster_detection_method": "slurm"},
        {},
    ]


def test_half_of_the_flags_and_unreachable_others_are_user_errors(joining, monkeypatch):
    with pytest.raises(UserError, match="belong together"), distributed.joined("host:1234"):
        pass

    def fails(**_):
        raise RuntimeError("no answer\nmany more lines")

    monkeypatch.setattr(distributed.jax.distributed, "initialize", fails)
    with pytest.raises(UserError, match=r"cannot join .*: no answer; start all of them"):
        distributed._join("host:1234", 2, 1)
