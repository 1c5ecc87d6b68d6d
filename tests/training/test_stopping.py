"""Ctrl-C and SIGTERM: the step is saved, the same command resumes; a second Ctrl-C leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from tiny_run import OVERRIDES, make_rows, metric_rows, models

from electra_jax.config_file import load_config
from electra_jax.pretraining.run import Pretraining
from electra_jax.training.stopping import StopSignals


@pytest.fixture
def handlers():
    """Python's own handlers, also where the tests run in the background."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [
        signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.signal(signal.SIGTERM, signal.SIG_DFL),
    ]
    yield lambda: [signal.getsignal(number) for number in numbers]
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGINT, ("Ctrl-C", 130)), (signal.SIGTERM, ("SIGTERM", 143))],
)
def test_a_signal_is_noticed_and_the_handlers_are_restored(handlers, number, reason, capsys):
    before = handlers()
    with StopSignals() as stop:
        assert not stop.requested(0)
        send(number)
        assert stop.requested(1) and stop.requested(2)
        assert stop.reason() == reason
    assert handlers() == before
    assert ("once more leaves at once" in capsys.readouterr().err) == (number == signal.SIGINT)


def test_a_second_ctrl_c_in_an_interactive_session_is_a_keyboard_interrupt(handlers, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(KeyboardInterrupt), StopSignals() as stop:
        send(signal.SIGINT)
        assert stop.requested(1)
        send(signal.SIGINT)
    assert handlers()[0] is signal.default_int_handler


def test_a_second_ctrl_c_ends_a_program_in_the_middle_of_a_step():
    """Where no Python runs: the signal's own action, not a handler's."""
    script = """
import ctypes, os, signal, subprocess
signal.signal(signal.SIGINT, signal.default_int_handler)
from electra_jax.training.stopping import StopSignals

with StopSignals():
    os.kill(os.getpid(), signal.SIGINT)
    subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -INT {os.getpid()}"])
    ctypes.PyDLL(None).sleep(20)
print("not left")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT, done.stderr
    assert "not left" not in done.stdout and "Traceback" not in done.stderr


def test_an_ignored_signal_stays_ignored(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopSignals() as stop:
        send(signal.SIGINT)
        assert not stop.requested(1)


def test_in_another_thread_no_handler_is_installed(handlers):
    found = []

    def run():
        with StopSignals() as stop:
            found.extend([handlers(), stop.requested(0)])

    before = handlers()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [before, False]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows"))


def built(rows, workdir, *overrides):
    config, _ = load_config([*OVERRIDES, f"--config.data.path={rows}", *overrides])
    return Pretraining.build(config, workdir)


def without_speed(workdir):
    return [
        {k: v for k, v in row.items() if k not in ("tokens_per_second", "seconds")}
        for row in metric_rows(workdir)
    ]


@pytest.mark.slow
def test_a_run_that_ctrl_c_stopped_goes_on_to_the_same_bits(handlers, rows, tmp_path, capsys):
    """From Python, as in a notebook; with a checkpoint at every step by the clock besides."""
    built(rows, tmp_path / "whole").train()
    told = capsys.readouterr().err
    assert f"{tmp_path / 'whole'}: begins at step 0: there is no checkpoint yet" in told
    assert "loss = Generator loss + 50 × Discriminator loss" in told

    clocked = ("--config.train.checkpoint_every=0", "--config.train.checkpoint_minutes=1e-9")
    begun = built(rows, tmp_path / "stopped", *clocked)
    read = begun.run.batches
    begun.run.batches = lambda first_example: send(signal.SIGINT) or read(first_example)
    with pytest.raises(KeyboardInterrupt, match="before the first step; the same command begins"):
        begun.train()
    assert not metric_rows(tmp_path / "stopped")

    stopped = built(rows, tmp_path / "stopped", *clocked)
    batches = stopped.run.batches

    def interrupted(first_example):
        for number, batch in enumerate(batches(first_example)):
            if number == 6:
                send(signal.SIGINT)
            yield batch

    stopped.run.batches = interrupted
    with pytest.raises(KeyboardInterrupt, match=r"^Ctrl-C: saved step 7 .*same command resumes$"):
        stopped.train()
    saved = sorted(int(p.name) for p in (tmp_path / "stopped/checkpoints").iterdir())
    assert saved == [5, 6, 7]  # the last three of all

    never = ("--config.train.checkpoint_every=0", "--config.train.checkpoint_minutes=0")
    resumed = built(rows, tmp_path / "stopped", *never)
    capsys.readouterr()
    resumed.train()
    told = capsys.readouterr().err
    assert f"goes on from step 7 ({tmp_path / 'stopped'}/checkpoints/7)" in told
    assert models(tmp_path / "stopped") == models(tmp_path / "whole")
    assert without_speed(tmp_path / "stopped") == without_speed(tmp_path / "whole")
