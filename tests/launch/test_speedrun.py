"""launch/speedrun.sh: the commands it prints, what it leaves out and refuses, and one real run."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from electra_jax.config.model import SIZES

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "launch" / "speedrun.sh"


def speedrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def commands(folder: Path, *arguments: str) -> list[list[str]]:
    """What a dry run prints, each command split into its words."""
    done = speedrun(folder, "--dry_run", *arguments)
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert all(line[0] == "+" for line in lines)
    return [line[1:] for line in lines]


@pytest.fixture
def folder(tmp_path):
    """Some text, in a folder whose name has a space."""
    (tmp_path / "my corpus").mkdir()
    (tmp_path / "my corpus" / "a.txt").write_text("Text.\n")
    return tmp_path


def test_a_blank_machine_gets_every_stage_in_order(folder):
    printed = commands(
        folder,
        "--venv=env",
        f"--python={sys.executable}",
        "--accelerator=cpu",
        "--workdir=w",
        "--steps=30",
        "--batch_size=8",
        "my corpus/*.txt",
    )
    electra = "env/bin/electra-jax"
    expected = f"""
        {sys.executable} -m venv env
        env/bin/python -m pip install --quiet --disable-pip-version-check --editable {ROOT}
        {electra} vocab '--input=my corpus/*.txt' --type=wordpiece --size=30522 --output=w/tokenizer
        {electra} prepare '--input=my corpus/*.txt' --tokenizer=w/tokenizer --output=w/rows \
            --seq_len=128
        {electra} pretrain --config=configs/pretrain.py:small --workdir=w/small \
            --config.data.path=w/rows --config.train.steps=30 --config.train.batch_size=8
        {electra} report w/small
    """.replace("\\\n", "")
    assert printed == [shlex.split(line) for line in expected.strip().splitlines()]
    assert sorted(path.name for path in folder.iterdir()) == ["my corpus"]  # nothing was run


def test_finished_stages_are_left_out(folder):
    for path in ("w/tokenizer/tokenizer.json", "w/rows/rows.json", "env/bin/python"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).touch(mode=0o755)
    (folder / "env/bin/electra-jax").touch(mode=0o755)
    printed = commands(folder, "--venv=env", "--workdir=w", "my corpus/a.txt")
    assert [command[1] for command in printed] == ["pretrain", "report"]
    (folder / "w/rows/rows.json").unlink()
    printed = commands(folder, "--venv=env", "--workdir=w", "my corpus/a.txt")
    assert [command[1] for command in printed] == ["prepare", "pretrain", "report"]


@pytest.mark.parametrize("accelerator", ["cuda", "cuda12", "tpu"])
def test_an_accelerator_is_an_extra_that_setup_py_has(folder, accelerator):
    printed = commands(folder, "--venv=env", f"--accelerator={accelerator}", "my corpus/a.txt")
    (install,) = [command for command in printed if "pip" in command]
    assert install[-1] == f"{ROOT}[{accelerator}]"
    assert f'"{accelerator}": [' in (ROOT / "setup.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name at least one text file"),
        (["absent/*.txt"], "no file matches absent/*.txt"),
        (["--speed=9", "my corpus/a.txt"], "unknown option --speed=9"),
        (["--steps=many", "my corpus/a.txt"], "not a positive number: many"),
        (["--accelerator=abacus", "my corpus/a.txt"], "unknown accelerator abacus"),
        (["--size=tinny", "my corpus/a.txt"], f"choose one of {' '.join(SIZES)}"),
    ],
)
def test_what_it_cannot_use_is_named_and_exits_2(folder, arguments, message):
    done = speedrun(folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_help_shows_an_example(folder):
    done = speedrun(folder, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout


@pytest.mark.slow
def test_it_makes_a_model_from_text(tmp_path):
    venv = Path(sys.prefix)
    if not os.access(venv / "bin" / "electra-jax", os.X_OK):
        pytest.skip("electra_jax is not installed in this environment")
    sources = sorted((ROOT / "electra_jax").rglob("*.py"))
    text = "\n\n".join(source.read_text(encoding="utf-8") for source in sources)
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    arguments = [f"--venv={venv}", "--workdir=w", "--size=tiny", "--vocab_size=500"]
    arguments += ["--seq_len=64", "--steps=4", "--batch_size=8", "text.txt"]
    done = speedrun(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert "done: w/tiny/report.html" in done.stdout
    assert (tmp_path / "w/tiny/report.html").stat().st_size > 1000
    assert (tmp_path / "w/tiny/model/discriminator/model.safetensors").exists()
    again = speedrun(tmp_path, *arguments)
    assert again.returncode == 0, again.stderr
    assert "electra-jax prepare" not in again.stdout
