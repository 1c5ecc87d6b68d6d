"""launch/: what the scripts would run, and what they do when machines are slow, taken or broken."""

import signal
import subprocess
from pathlib import Path

import pytest
from launch.stand_ins import ROOT, RUN, StandIns, printed, shellcheck

SCRIPTS = [*sorted((ROOT / "launch").glob("*.sh")), ROOT / ".ci" / "run"]
TPU = ["--name=big", "--zone=z-a", "--type=v4-32"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script):
    assert shellcheck(script.read_text()) == ""


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("tpu_vm.sh", TPU[:2] + RUN, "--type is missing"),
        ("tpu_vm.sh", TPU, "after -- say what to pretrain"),
        ("tpu_vm.sh", [*TPU, "--poll=soon", *RUN], "not a number: soon"),
        ("tpu_vm.sh", [*TPU, "--config=x"], "unknown option --config=x"),
        ("slurm.sh", [], "after -- say what to pretrain"),
        ("node.sh", ["--restarts=-1", *RUN], "not a number: -1"),
    ],
)
def test_what_they_cannot_use_is_named_and_exits_2(tmp_path, script, arguments, message):
    done = StandIns(tmp_path).run(script, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


# One machine


def a_run_that(folder: Path, script: str) -> list[str]:
    """Arguments of node.sh for which this shell script is electra-jax."""
    electra = folder / "env" / "bin" / "electra-jax"
    electra.parent.mkdir(parents=True)
    electra.write_text(f"#!/bin/sh\n{script}\n")
    electra.chmod(0o755)
    return [f"--venv={folder / 'env'}", "--pause=0", *RUN]


def test_one_machine_starts_again_what_failed(tmp_path):
    stand_ins = StandIns(tmp_path)
    arguments = a_run_that(tmp_path, f"echo x >>{tmp_path}/n; [ $(wc -l <{tmp_path}/n) -ge 3 ]")
    done = stand_ins.run("node.sh", *arguments)
    assert done.returncode == 0 and done.stderr.count("restart") == 2
    (tmp_path / "n").unlink()
    assert stand_ins.run("node.sh", "--restarts=1", *arguments).returncode == 1
    electra = f"{tmp_path}/env/bin/electra-jax"
    assert printed(stand_ins.run("node.sh", "--dry_run", *arguments)) == [
        [electra, "pretrain", *RUN[1:]]
    ]


@pytest.mark.parametrize("code", [2, 143])
def test_one_machine_leaves_alone_what_is_not_to_be_started_again(tmp_path, code):
    done = StandIns(tmp_path).run("node.sh", *a_run_that(tmp_path, f"exit {code}"))
    assert done.returncode == code and "restart" not in done.stderr


def test_sigterm_reaches_the_run_and_its_code_comes_back(tmp_path):
    arguments = a_run_that(tmp_path, "trap 'exit 143' TERM; echo up; while :; do sleep 0.05; done")
    with subprocess.Popen(
        ["bash", str(ROOT / "launch/node.sh"), *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "up":
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
