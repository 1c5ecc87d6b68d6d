"""The work folder of a run: one run at a time, and one configuration."""

import json
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.config.fields import absent_values
from electra_jax.config.resolved import (
    Config,
    as_config,
    filled_in,
    flatten_config,
    going_on,
)
from electra_jax.errors import UserError
from electra_jax.files import FileLock, HeldError, read_object, write_json_atomic

_LOCK = ".lock"
_CONFIG = "config.json"
_ABSENT = "(absent)"


class RunLock:
    """Holds a work folder for this process: `with RunLock(workdir): …`, or `acquire`, `release`.

    A process that ends, however it ends, no longer holds it (`FileLock`). On several hosts with a
    shared folder only one process takes it.
    """

    def __init__(self, workdir: str | os.PathLike[str]) -> None:
        self.workdir = Path(workdir)
        self._lock: FileLock | None = None

    def acquire(self) -> None:
        """Take the lock, making the folder where it is missing.

        Raises UserError that names the process holding it, or where the folder cannot be written.
        """
        about = f"pid {os.getpid()} on host {socket.gethostname()}, since {time.ctime()}"
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.workdir / _LOCK, about)
        except HeldError as holder:
            raise UserError(
                f"another run uses the workdir {self.workdir}: "
                f"{str(holder) or 'it is just starting'}; "
                "wait until it ends, stop it, or choose another --workdir"
            ) from None
        except OSError as error:
            raise UserError(
                f"cannot write the workdir {self.workdir}: {error.strerror}; choose another "
                "--workdir, on a file system that has locks, or make it writable"
            ) from error

    def release(self) -> None:
        """Give the folder back. Harmless where it is not held."""
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> "RunLock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def load_or_check_config(
    workdir: str | os.PathLike[str],
    config: Mapping[str, Any],
    *,
    may_change: Sequence[str] = (),
    remote: bool = False,
    absent: Mapping[str, Any] | None = None,
) -> dict[str, tuple[Any, Any]]:
    """Write `config` to WORKDIR/config.json, or compare it with the one that the run began with.
    The file of a run that has no checkpoint yet is replaced: there is nothing to resume.

    may_change: regular expressions; a dotted key that one of them matches from end to end, such as
        `train.log_every`, may differ: the file is then brought up to date.
    remote: the checkpoints are in a bucket, so that the work folder does not show whether any
    exist. absent: {dotted key: its value where the file lacks it}, for fields newer than the run.
    Returns the accepted changes, {dotted key: (old, new)}; empty for a first run. Raises UserError
    that lists every other difference.
    """
    path = Path(workdir) / _CONFIG
    new = json.loads(json.dumps(config, allow_nan=False))  # tuples become lists, as in the file
    if not path.exists():
        write_json_atomic(path, new)
        return {}
    old = _read(path)
    changes = config_differences(filled_in(old, absent or {}), new)
    refused = {
        key: pair
        for key, pair in changes.items()
        if not any(re.fullmatch(pattern, key) for pattern in may_change)
    }
    if refused and (remote or _anything_kept(Path(workdir))):
        lines = "\n".join(f"  {key}: {_show(a)} → {_show(b)}" for key, (a, b) in refused.items())
        raise UserError(
            f"the run in {workdir} cannot resume with another configuration:\n{lines}\n"
            "Give the old values again, or choose another --workdir for a run with the new ones "
            "(pretraining: --config.resume=OLD goes on from there)"
        )
    if changes:
        write_json_atomic(path, new)
    return changes


def _read(path: Any) -> dict[str, Any]:
    try:
        return read_object(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {path}: {error}; bring it back from a copy, or choose another --workdir"
        ) from error


def recorded_config(workdir: Any, *, remote: bool = False) -> dict[str, Any] | None:
    """The configuration that the run in a work folder began with, as config.json has it; None where
    there is nothing to resume.

    remote: the folder is in a bucket. A run of fine-tuning that is between two attempts has it in
    the folder of the last one.
    """
    for folder in [workdir] if remote else [workdir, *_attempts(workdir)]:
        if (folder / _CONFIG).exists() and (remote or _anything_kept(workdir)):
            return _read(folder / _CONFIG)
    return None


def _attempts(workdir: Path) -> list[Path]:
    """Folders of attempts that failed, the last one first."""
    found = [f for f in workdir.glob("failed-*") if f.name.removeprefix("failed-").isdigit()]
    return sorted(found, key=lambda f: -int(f.name.removeprefix("failed-")))


def resumed_config(
    config: Mapping[str, Any], recorded: Mapping[str, Any] | None, settings: type
) -> Config:
    """The configuration with which a run goes on: fields of `settings` that are newer than the run
    have the value that changes nothing, unless the user gave one. `recorded` is
    `recorded_config`'s; None: the run is a new one."""
    known = as_config(config, settings)
    if recorded is None:
        return known
    return going_on(known, recorded, absent_values(settings))


def _anything_kept(workdir: Path) -> bool:
    """Whether there is a checkpoint, a best step, a failed attempt or the output of a finished
    run."""
    checkpoints = workdir / "checkpoints"
    saved = checkpoints.is_dir() and any(f.name[:1].isdigit() for f in checkpoints.iterdir())
    names = ("model", "result.json", "best.json", "failed-1")
    return saved or any((workdir / name).exists() for name in names)


def config_differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """{dotted key: (old value, new value)}, a value that one side lacks shown as `(absent)`."""
    before, after = flatten_config(old), flatten_config(new)
    pairs = {
        key: (before.get(key, _ABSENT), after.get(key, _ABSENT))
        for key in sorted(before.keys() | after.keys())
    }
    # 1 == 1.0 == True in Python: compare what the file would show.
    return {key: pair for key, pair in pairs.items() if _show(pair[0]) != _show(pair[1])}


def _show(value: Any) -> str:
    return _ABSENT if value is _ABSENT else json.dumps(value, ensure_ascii=False)
