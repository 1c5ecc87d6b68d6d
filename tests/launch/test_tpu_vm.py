"""launch/tpu_vm.sh: what it asks of gcloud, what it does when chips are taken, missing or late, and
what its commands do on a host."""

import os
import shlex
import subprocess
import tarfile
import time

import pytest
from launch.stand_ins import RUN, StandIns, printed, shellcheck

TPU = ["--name=big", "--zone=z-a", "--type=v4-32"]
INSTALL = ["tpu-vm scp all", "tpu-vm ssh all"]
BEGIN = ["tpu-vm ssh all", "tpu-vm ssh 0", "tpu-vm ssh 0"]  # start, follow, outcome
ABSENT = ("ERROR: (gcloud.compute.tpus) NOT_FOUND: Resource 'big' was not found.", 1)
STOCK_OUT = (
    'ERROR: (gcloud.compute.tpus.tpu-vm.create) {"code": 8, "message": "There is no more capacity '
    'in the zone \\"z-a\\"; you can try in another zone"}',
    1,
)
DONE = ("cat run.exit", [("0\n", 0)])


def ready(*states: str) -> tuple[str, list[tuple[str, int]]]:
    """Replies to the question for the slice's state."""
    return "tpu-vm describe", [(f"{state}\n", 0) if state else ABSENT for state in states]


@pytest.fixture
def cloud(tmp_path):
    stand_ins = StandIns(tmp_path, "gcloud", "git", "sleep", "ssh-keygen", "ssh-add")
    stand_ins.answer(ready("READY"), DONE)
    return stand_ins


def verbs(calls: list[list[str]]) -> list[str]:
    """`tpu-vm ssh 0` and so on: what gcloud was called for, in short."""
    found = []
    for call in calls:
        worker = [word.removeprefix("--worker=") for word in call if word.startswith("--worker=")]
        if call[0] == "gcloud":
            found.append(" ".join([*call[3:5], *worker]))
    return found


def pauses(calls: list[list[str]]) -> list[int]:
    return [int(call[1]) for call in calls if call[0] == "sleep"]


def test_a_dry_run_prints_every_command_and_calls_nothing(cloud):
    done = cloud.run("tpu_vm.sh", *TPU, "--spot", "--rows=gs://b/rows", "--dry_run", *RUN)
    commands = printed(done)
    assert cloud.calls() == []
    where = "--zone=z-a --quiet"
    assert commands[0] == shlex.split(
        f"gcloud compute tpus tpu-vm create big {where} --version=tpu-ubuntu2204-base "
        "--accelerator-type=v4-32 --spot"
    )
    archive = f"{cloud.folder}/electra_jax-big.tar.gz"
    assert commands[1][-2:] == [f"--output={archive}", "HEAD"]
    assert commands[2] == shlex.split(
        f"gcloud compute tpus tpu-vm scp {archive} big:electra_jax.tar.gz {where} "
        "--scp-flag=-oBatchMode=yes --worker=all"
    )
    (install, start, follow) = commands[3:]
    assert "--worker=all" in install and ".venv/bin/python -m pip install" in install[-1]
    assert "gcloud storage rsync --recursive gs://b/rows rows" in install[-1]
    assert "--worker=all" in start and "--config.data.path=rows" in start[-1]
    assert "--worker=0" in follow and "tail" in follow[-1]


@pytest.mark.parametrize(
    ("type_", "image"),
    [
        ("v2-8", "tpu-ubuntu2204-base"),
        ("v4-32", "tpu-ubuntu2204-base"),
        ("v5litepod-16", "v2-alpha-tpuv5-lite"),
        ("v5p-8", "v2-alpha-tpuv5"),
        ("v6e-64", "v2-alpha-tpuv6e"),
    ],
)
def test_the_image_follows_the_type_unless_named(cloud, type_, image):
    arguments = [*TPU[:2], f"--type={type_}", "--dry_run"]
    assert f"--version={image}" in printed(cloud.run("tpu_vm.sh", *arguments, *RUN))[0]
    queued = printed(cloud.run("tpu_vm.sh", *arguments, "--queued", *RUN))[0]
    assert f"--runtime-version={image}" in queued
    for flag in ("--image=mine", "--version=mine"):
        assert "--version=mine" in printed(cloud.run("tpu_vm.sh", *arguments, flag, *RUN))[0]


def test_v5e_is_called_what_gcloud_calls_it_and_newer_types_need_a_name(cloud):
    done = cloud.run("tpu_vm.sh", *TPU[:2], "--type=v5e-16", "--dry_run", *RUN)
    assert {"--accelerator-type=v5litepod-16", "--version=v2-alpha-tpuv5-lite"} <= set(
        printed(done)[0]
    )
    done = cloud.run("tpu_vm.sh", *TPU[:2], "--type=tpu7x-8", "--dry_run", *RUN)
    assert done.returncode == 2 and "name one with --image=NAME" in done.stderr


@pytest.mark.parametrize("queued", [[], ["--queued"]])
def test_network_account_and_reservation_reach_both_ways_to_create(cloud, queued):
    options = ["--network=n", "--subnetwork=s", "--service_account=a@b", "--internal_ips"]
    done = cloud.run("tpu_vm.sh", *TPU, *options, "--reserved", *queued, "--dry_run", *RUN)
    create, _, scp, install, *_ = printed(done)
    assert create[-6:] == [
        "--accelerator-type=v4-32", "--reserved", "--network=n", "--subnetwork=s",
        "--service-account=a@b", "--internal-ips",
    ]  # fmt: skip
    assert "--internal-ip" in scp and "--internal-ip" in install
    both = cloud.run("tpu_vm.sh", *TPU, "--spot", "--reserved", *RUN)
    assert both.returncode == 2 and "exclude each other" in both.stderr


def test_a_slice_that_is_there_is_used_and_a_finished_run_ends_it(cloud):
    done = cloud.run("tpu_vm.sh", *TPU, *RUN)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "done")
    calls = cloud.calls()
    assert verbs(calls) == ["tpu-vm describe", *INSTALL, *BEGIN]
    assert pauses(calls) == []
    assert all("--quiet" in call for call in calls if call[0] == "gcloud")


def test_the_archive_is_the_last_commit_and_what_is_not_in_it_is_told(cloud, tmp_path):
    cloud.answer(("git -C", [("", 1)]), ready("READY"), DONE)
    done = cloud.run("tpu_vm.sh", *TPU, "--restarts=0", *RUN)
    assert "what is not committed" in done.stderr
    (cloud.folder / "bin" / "git").unlink()
    cloud.answer(ready("READY"), DONE)
    assert cloud.run("tpu_vm.sh", *TPU, *RUN).returncode == 0
    with tarfile.open(tmp_path / "electra_jax-big.tar.gz") as archive:
        assert {"setup.py", "electra_jax/cli/main.py"} <= set(archive.getnames())


def test_a_preempted_slice_is_made_anew_and_the_run_started_again(cloud):
    cloud.answer(
        ready("READY", "PREEMPTED", "", "READY"), ("cat run.exit", [("", 255), ("0\n", 0)])
    )
    done = cloud.run("tpu_vm.sh", *TPU, "--spot", *RUN)
    assert done.returncode == 0, done.stderr
    assert "its host is gone" in done.stdout
    assert verbs(cloud.calls()) == [
        "tpu-vm describe", *INSTALL, *BEGIN,
        "tpu-vm describe", "tpu-vm delete", "tpu-vm describe", "tpu-vm create",
        "tpu-vm describe", *INSTALL, *BEGIN,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "state", ["CREATING", "STARTING", "RESTARTING", "REIMAGING", "REPAIRING", "STOPPING"]
)
def test_a_slice_that_will_be_ready_is_waited_for(cloud, state):
    cloud.answer(ready(state, state, "READY"), DONE)
    done = cloud.run("tpu_vm.sh", *TPU, "--restarts=0", "--poll=7", *RUN)
    assert done.returncode == 0, done.stderr
    calls = cloud.calls()
    assert verbs(calls) == [*["tpu-vm describe"] * 3, *INSTALL, *BEGIN]
    assert pauses(calls) == [7, 7]
    assert done.stdout.count(f"waiting for v4-32: {state}") == 1


@pytest.mark.parametrize("state", ["PREEMPTED", "TERMINATED", "UNKNOWN"])
def test_a_slice_that_will_not_is_deleted(cloud, state):
    cloud.answer(ready(state, "", "READY"), DONE)
    assert cloud.run("tpu_vm.sh", *TPU, *RUN).returncode == 0
    assert verbs(cloud.calls())[:5] == [
        "tpu-vm describe", "tpu-vm delete", "tpu-vm describe", "tpu-vm create", "tpu-vm describe"
    ]  # fmt: skip


def test_a_stopped_slice_is_started(cloud):
    cloud.answer(ready("STOPPED", "STARTING", "READY"), DONE)
    assert cloud.run("tpu_vm.sh", *TPU, *RUN).returncode == 0
    assert "tpu-vm start" in verbs(cloud.calls())


def test_a_stock_out_is_tried_again_after_longer_and_longer_pauses(cloud):
    cloud.answer(
        ready("", "", "", "", "", "", "", "READY"),
        ("tpu-vm create", [STOCK_OUT] * 6 + [("", 0)]),
        DONE,
    )
    done = cloud.run("tpu_vm.sh", *TPU, *RUN)
    assert done.returncode == 0, done.stderr
    assert "no more capacity" in done.stdout and "(6 of 1000)" in done.stdout
    assert pauses(cloud.calls()) == [60, 120, 240, 480, 960, 960]


def test_a_stock_out_ends_it_after_the_restarts_it_promises(cloud):
    cloud.answer(ready(""), ("tpu-vm create", [STOCK_OUT]))
    done = cloud.run("tpu_vm.sh", *TPU, "--restarts=2", *RUN)
    assert done.returncode == 1
    assert "no slice of type v4-32; gave up after 2 restarts" in done.stderr
    assert verbs(cloud.calls()).count("tpu-vm create") == 3


@pytest.mark.parametrize(
    "message",
    [
        "PERMISSION_DENIED: Permission denied on resource project p.",
        "INVALID_ARGUMENT: Cloud TPU received an invalid AcceleratorType",
        '{"code": 5, "message": "Reservation not found"}',
        "RESOURCE_EXHAUSTED: Quota limit 'V4' has been exceeded. Limit: 0 in region r.",
        "There was a problem refreshing your tokens. Please run: $ gcloud auth login",
    ],
)
def test_an_error_that_cannot_be_mended_ends_it_at_once(cloud, message):
    cloud.answer(ready(""), ("tpu-vm create", [(f"ERROR: (gcloud) {message}", 1)]))
    done = cloud.run("tpu_vm.sh", *TPU, *RUN)
    assert done.returncode == 2 and message in done.stdout
    assert verbs(cloud.calls()).count("tpu-vm create") == 1


@pytest.mark.parametrize(("message", "code"), [("PERMISSION_DENIED: no", 2), ("503", 0)])
def test_a_state_that_cannot_be_asked_for_is_not_an_absent_slice(cloud, message, code):
    cloud.answer(("tpu-vm describe", [(message, 1), ("READY\n", 0)]), DONE)
    done = cloud.run("tpu_vm.sh", *TPU, *RUN)
    assert done.returncode == code and message in done.stderr
    assert "tpu-vm create" not in verbs(cloud.calls())


# Queued resources


def test_queued_chips_are_waited_for(cloud):
    waiting = ["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]
    cloud.answer(
        ("queued-resources describe", [ABSENT, *[(f"{state}\n", 0) for state in waiting]]),
        ready("", "", "CREATING", "CREATING", "READY"),
        DONE,
    )
    done = cloud.run("tpu_vm.sh", *TPU, "--queued", "--spot", *RUN)
    assert done.returncode == 0, done.stderr
    calls = cloud.calls()
    (create,) = [call for call in calls if call[3:5] == ["queued-resources", "create"]]
    assert create[3:] == [
        "queued-resources", "create", "big", "--node-id=big", "--zone=z-a", "--quiet",
        "--runtime-version=tpu-ubuntu2204-base", "--accelerator-type=v4-32", "--spot",
    ]  # fmt: skip
    for state in ("WAITING_FOR_RESOURCES", "PROVISIONING", "CREATING"):
        assert f"waiting for v4-32: {state}" in done.stdout
    assert pauses(calls) == [60, 60, 60]


def test_a_request_given_again_is_waited_for_and_not_made_twice(cloud):
    waiting = [("WAITING_FOR_RESOURCES\n", 0), ("ACTIVE\n", 0)]
    cloud.answer(("queued-resources describe", waiting), ready("", "READY"), DONE)
    done = cloud.run("tpu_vm.sh", *TPU, "--queued", *RUN)
    assert done.returncode == 0, done.stderr
    assert "queued-resources create" not in verbs(cloud.calls())
    # Another launcher may create it between the look and the creation.
    cloud.answer(
        ("queued-resources describe", [ABSENT, *waiting]),
        ("queued-resources create", [("ERROR: (gcloud) ALREADY_EXISTS: Resource 'big'", 1)]),
        ready("", "", "READY"),
        DONE,
    )
    done = cloud.run("tpu_vm.sh", *TPU, "--queued", "--restarts=0", *RUN)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("request_", "node"), [("SUSPENDED", ""), ("ACTIVE", "PREEMPTED"), ("ACTIVE", "")]
)
def test_a_request_whose_chips_were_taken_is_deleted_and_made_anew(cloud, request_, node):
    cloud.answer(
        ("queued-resources describe", [(f"{request_}\n", 0), ABSENT]),
        ready(node, "", "READY"),
        DONE,
    )
    assert cloud.run("tpu_vm.sh", *TPU, "--queued", *RUN).returncode == 0
    calls = cloud.calls()
    assert [verb for verb in verbs(calls) if "describe" not in verb][:2] == [
        "queued-resources delete", "queued-resources create"
    ]  # fmt: skip
    (delete,) = [call for call in calls if "delete" in call]
    assert "--force" in delete


@pytest.mark.parametrize(("number", "exit_code"), [(8, 1), (3, 2)])
def test_a_request_that_failed_is_made_anew_where_its_reason_may_pass(cloud, number, exit_code):
    reason = f"state:\n  failedData:\n    error:\n      code: {number}\n      message: because\n"
    cloud.answer(
        ("--format=yaml(state)", [(reason, 0)]),
        ("queued-resources describe", [ABSENT, ("FAILED\n", 0)]),
        ready(""),
    )
    done = cloud.run("tpu_vm.sh", *TPU, "--queued", "--restarts=0", *RUN)
    assert done.returncode == exit_code and "message: because" in done.stdout
    deleted = "queued-resources delete" in verbs(cloud.calls())
    assert deleted == (exit_code == 1)


# Runs that end, connections that end


def test_a_run_that_failed_is_started_again_on_the_same_slice_at_most_so_often(cloud):
    cloud.answer(ready("READY"), ("cat run.exit", [("1\n", 0)]))
    done = cloud.run("tpu_vm.sh", *TPU, "--restarts=2", *RUN)
    assert done.returncode == 1 and "gave up after 2 restarts" in done.stderr
    calls = cloud.calls()
    assert verbs(calls).count("tpu-vm scp all") == 1  # installed once
    assert pauses(calls) == [60, 120]
    cloud.answer(ready("READY"), ("cat run.exit", [("2\n", 0)]))
    done = cloud.run("tpu_vm.sh", *TPU, *RUN)
    assert done.returncode == 2 and "refused its input" in done.stderr


def test_a_connection_that_ends_before_the_run_is_made_again(cloud):
    cloud.answer(ready("READY"), ("cat run.exit", [("running\n", 0), ("0\n", 0)]))
    done = cloud.run("tpu_vm.sh", *TPU, "--restarts=0", *RUN)
    assert done.returncode == 0, done.stderr
    assert verbs(cloud.calls()) == ["tpu-vm describe", *INSTALL, *BEGIN, *BEGIN[1:]]


def test_a_run_out_of_reach_is_not_ended_but_one_that_ended_leaves_nothing_behind(cloud):
    cloud.answer(ready("READY"), ("cat run.exit", [("", 255), ("1\n", 0), ("0\n", 0)]))
    done = cloud.run("tpu_vm.sh", *TPU, *RUN)
    assert done.returncode == 0, done.stderr
    starts = [call[-1] for call in cloud.calls() if "nohup" in call[-1]]
    assert ["kill" in start for start in starts] == [False, False, True]


def test_installing_is_tried_again_four_times_in_all(cloud):
    cloud.answer(ready("READY"), ("pip install", [("", 1), ("", 0)]), DONE)
    assert cloud.run("tpu_vm.sh", *TPU, *RUN).returncode == 0
    cloud.calls()
    cloud.answer(ready("READY"), ("pip install", [("no such package", 1)]))
    done = cloud.run("tpu_vm.sh", *TPU, *RUN)
    assert done.returncode == 2 and "installing failed 4 times" in done.stderr
    assert verbs(cloud.calls()).count("tpu-vm scp all") == 4


# The key: gcloud refuses several hosts where an agent runs that does not hold it


def test_a_key_without_passphrase_is_made_and_given_to_the_agent(cloud):
    assert cloud.run("tpu_vm.sh", *TPU, *RUN).returncode == 0
    key = str(cloud.folder / ".ssh" / "google_compute_engine")
    calls = [call for call in cloud.calls() if call[0].startswith("ssh-")]
    assert calls[0][:6] == ["ssh-keygen", "-q", "-t", "rsa", "-b", "3072"]
    assert calls[0][6:8] == ["-N", ""] and calls[0][-2:] == ["-f", key]
    assert calls[-1] == ["ssh-add", "-q", key]


@pytest.mark.parametrize("held", [True, False])
def test_a_key_with_a_passphrase_must_be_in_the_agent(cloud, held):
    (cloud.folder / ".ssh").mkdir()
    (cloud.folder / ".ssh" / "google_compute_engine").touch()
    cloud.answer(
        ("ssh-keygen -y", [("incorrect passphrase", 255)]),
        ("ssh-keygen -lf", [("3072 SHA256:abc me (RSA)\n", 0)]),
        ("ssh-add -l", [("3072 SHA256:abc me (RSA)\n" if held else "256 SHA256:def x\n", 0)]),
        ready("READY"),
        DONE,
    )
    done = cloud.run("tpu_vm.sh", *TPU, *RUN)
    assert done.returncode == (0 if held else 2)
    assert ("run ssh-add" in done.stderr) is not held


# On a host


@pytest.fixture
def scripts(cloud):
    """What runs on the hosts: installing, start, follow, outcome, and the start after a failure."""
    cloud.answer(ready("READY"), ("cat run.exit", [("1\n", 0), ("0\n", 0)]))
    assert cloud.run("tpu_vm.sh", *TPU, *RUN).returncode == 0
    commands = [word for call in cloud.calls() for word in call if word.startswith("--command=")]
    return [command.removeprefix("--command=") for command in commands[:5]]


def test_shellcheck_has_nothing_to_say_of_what_runs_on_the_hosts(scripts):
    whole = "\n".join(f"({script}\n)" for script in scripts)
    assert shellcheck(whole, "--shell=bash") == ""


def test_a_host_runs_the_arguments_whole_and_tells_its_outcome(scripts, tmp_path):
    _, start, _, outcome, start_again = scripts
    home = tmp_path / "home"
    electra = home / "electra_jax" / ".venv" / "bin" / "electra-jax"
    electra.parent.mkdir(parents=True)
    electra.write_text(
        """#!/bin/sh
        printf '%s\\n' "$@"
        for turn in $(seq 500); do [ -e end ] && exit 3; /bin/sleep 0.02; done
        """
    )
    electra.chmod(0o755)
    host = StandIns(tmp_path / "host", "sleep")
    pid, end = home / "electra_jax" / "run.pid", home / "electra_jax" / "end"

    def run(script: str, path: str = os.environ["PATH"]) -> str:
        done = subprocess.run(
            ["bash", "-c", script], cwd=home, env={"PATH": path}, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    run(start)
    first = pid.read_text()
    assert run(outcome) == "running\n"
    run(start)  # it runs: nothing is started
    assert pid.read_text() == first
    # After a failure what still runs is waited for, ended and begun again.
    run(start_again, os.pathsep.join([str(host.folder / "bin"), os.environ["PATH"]]))
    assert pid.read_text() != first and len(host.calls()) == 120
    assert run(outcome) == "running\n"
    end.touch()
    deadline = time.monotonic() + 20
    while (code := run(outcome)) in ("running\n", ""):
        assert time.monotonic() < deadline
    assert code == "3\n"
    log = (home / "electra_jax" / "run.log").read_text().splitlines()
    assert log == ["pretrain", *RUN[1:]] * 2


@pytest.fixture
def host(tmp_path):
    """A host: its home folder with the copied checkout, and runs of the install script in it."""
    home = tmp_path / "home"
    (home / "checkout").mkdir(parents=True)
    subprocess.run(
        ["tar", "-czf", home / "electra_jax.tar.gz", "-C", home / "checkout", "."], check=True
    )
    machine = StandIns(
        tmp_path / "host", "sudo", "sleep", "python3", "python3.11", "python3.12", "python3.13"
    )

    def install(script: str) -> subprocess.CompletedProcess[str]:
        # `python -m venv .venv` is a stand-in's, so what it would make is there.
        (home / "electra_jax" / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
        (home / "electra_jax" / ".venv" / "bin" / "python").symlink_to(
            machine.folder / "bin" / "python3"
        )
        path = os.pathsep.join([str(machine.folder / "bin"), os.environ["PATH"]])
        return subprocess.run(
            ["sh", "-c", script], cwd=home, env={"PATH": path}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    machine.install = install
    return machine


def test_a_host_without_python_gets_one_when_apt_s_lock_is_free(scripts, host):
    locked = ("E: Could not get lock /var/lib/apt/lists/lock", 100)
    host.answer(
        ("-c import ensurepip", [("", 1)] * 12 + [("", 0)]),
        ("apt-get -qq -o DPkg::Lock::Timeout=600 update", [locked, locked, ("", 0)]),
    )
    done = host.install(scripts[0])
    assert done.returncode == 0, done.stderr
    calls = host.calls()
    apt = [" ".join(call) for call in calls if call[0] == "sudo"]
    assert all(command.startswith("sudo -n ") for command in apt)
    assert all("DPkg::Lock::Timeout=600" in command for command in apt if "apt-get" in command)
    assert "add-apt-repository -y ppa:deadsnakes/ppa" in apt[-3]
    assert apt[-1].endswith("install -y python3.12-venv")
    assert pauses(calls) == [15, 15]
    assert calls[-1][1:] == ["-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                             ".[tpu]"]  # fmt: skip


def test_a_host_with_python_needs_no_apt_and_a_running_run_no_installing(scripts, host, tmp_path):
    script = scripts[0]
    assert host.install(script).returncode == 0
    assert not [call for call in host.calls() if call[0] == "sudo"]
    running = tmp_path / "home" / "electra_jax"
    with subprocess.Popen(["bash", "-c", "exec -a electra-jax sleep 20"]) as run:
        try:
            (running / "run.pid").write_text(str(run.pid))
            (running / ".venv" / "bin" / "python").unlink()
            assert host.install(script).returncode == 0
            assert host.calls() == []
        finally:
            run.kill()
