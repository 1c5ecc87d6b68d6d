"""Executables that stand in for gcloud, sbatch, srun and the like: they record their arguments and
answer from a script of ours."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

STAND_IN = """#!{python} -SE
import json, os, sys
name = os.path.basename(sys.argv[0])
with open({calls!r}, "a") as file:
    file.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
text = " ".join([name, *sys.argv[1:]])
with open({answers!r}) as file:
    answers = json.load(file)
for number, (part, replies) in enumerate(answers):
    if part in text and replies:
        output, code = replies.pop(0) if len(replies) > 1 else replies[0]
        with open({answers!r}, "w") as file:
            json.dump(answers, file)
        sys.stdout.write(output)
        sys.exit(code)
"""


class StandIns:
    """A folder of executables, first on the path of what `run` starts."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        self._calls, self._answers = folder / "calls.jsonl", folder / "answers.json"
        (folder / "bin").mkdir(parents=True)
        source = STAND_IN.format(
            python=sys.executable, calls=str(self._calls), answers=str(self._answers)
        )
        for name in names:
            file = folder / "bin" / name
            file.write_text(source)
            file.chmod(file.stat().st_mode | stat.S_IXUSR)
        self.answer()

    def answer(self, *answers: tuple[str, list[tuple[str, int]]]) -> None:
        """(part of a command line, replies (output, exit code); the last one is repeated)."""
        self._answers.write_text(json.dumps(answers))

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A script of launch/ with the stand-ins in front."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        return subprocess.run(
            ["bash", str(ROOT / "launch" / script), *arguments],
            env={**os.environ, "PATH": path, "TMPDIR": str(self.folder)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def calls(self) -> list[list[str]]:
        """What was called since the last look, in order."""
        if not self._calls.exists():
            return []
        lines = self._calls.read_text().splitlines()
        self._calls.unlink()
        return [json.loads(line) for line in lines]
