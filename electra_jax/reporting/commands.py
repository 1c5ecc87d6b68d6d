"""The commands that started a run, and when: a line for each start, in its work folder."""

from __future__ import annotations

import datetime
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FILE = "commands.jsonl"
_LONGEST = 4000  # characters of a command that is kept


class Start(NamedTuple):
    """A start of a run: local time as ISO 8601, and the command ("" from Python)."""

    time: str
    command: str


def record_start(workdir: str | os.PathLike[str], argv: Sequence[str] | None = None) -> None:
    """Appends this process's start to WORKDIR/commands.jsonl; a disk that refuses is no error."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    line = json.dumps({"time": now, "command": command_line(argv)}, ensure_ascii=False)
    try:
        with open(Path(workdir) / FILE, "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(line + "\n")
    except OSError:
        return  # a report without its command is better than no run


def command_line(argv: Sequence[str] | None = None) -> str:
    """The command of this process as one types it; "" where it is not this package's."""
    program, *arguments = sys.argv if argv is None else argv
    path = Path(program)
    if path.name == "__main__.py" and path.parent.name == "electra_jax":
        command = ["python", "-m", "electra_jax", *arguments]
    elif path.stem == "electra-jax":
        command = ["electra-jax", *arguments]
    else:
        return ""
    return shlex.join(command)[:_LONGEST]


def read_starts(workdir: str | os.PathLike[str]) -> list[Start]:
    """The starts of a run, oldest first; [] of one that recorded none. Torn lines are left out."""
    try:
        text = (Path(workdir) / FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
            texts = (str(row[key]).encode(errors="replace").decode() for key in Start._fields)
            found.append(Start(*texts))
        except (ValueError, KeyError, TypeError):
            continue
    return found
