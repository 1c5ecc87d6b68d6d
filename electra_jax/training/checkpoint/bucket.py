"""A work folder in a bucket: `--workdir=gs://BUCKET/FOLDER`.

Checkpoints are written there directly. Objects in a bucket can be neither appended to nor locked,
so every other file lives in a local folder and is copied before each checkpoint, and at the end:
whatever happens to the machine, the bucket's metrics reach as far as its newest checkpoint. That
two runs use one bucket folder is not noticed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from etils import epath

from electra_jax.errors import UserError
from electra_jax.training.workdir import recorded_config

CHECKPOINTS = "checkpoints"


def is_bucket(path: str | os.PathLike[str]) -> bool:
    """Is this a URL and not a path of the file system?"""
    return "://" in os.fspath(path)


def folder_of(path: str | os.PathLike[str]) -> Any:
    """A `pathlib.Path`, or what serves as one for a URL."""
    return epath.Path(path) if is_bucket(path) else Path(path)


class Bucket:
    """The folder `url` and its local stand-in, `local`: a temporary folder, when none is given."""

    def __init__(self, url: str | os.PathLike[str], local: Path | None = None) -> None:
        self.url = epath.Path(url)
        self.local = local or Path(tempfile.mkdtemp(prefix="electra_jax-"))
        if local is None:  # the finished model may be large
            weakref.finalize(self, shutil.rmtree, self.local, ignore_errors=True)
        self._stored: dict[Path, tuple[int, int]] = {}

    def fetch(self) -> None:
        """Copies what a run has left there, checkpoints apart, into the local folder.

        Raises UserError where the bucket cannot be read.
        """
        try:
            if self.url.is_dir():
                self._fetch(self.url, self.local)
        except Exception as error:  # of whichever library serves this kind of bucket
            raise self._explain("read", error) from error

    def _fetch(self, source: Any, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for entry in source.iterdir():
            if entry.is_dir():
                if entry.name != CHECKPOINTS:
                    self._fetch(entry, target / entry.name)
            else:
                with entry.open("rb") as stream, open(target / entry.name, "wb") as copy:
                    shutil.copyfileobj(stream, copy)

    def recorded_config(self) -> dict[str, Any] | None:
        """The configuration of the run that is there, as `workdir.recorded_config`.

        Raises UserError where the bucket cannot be read.
        """
        try:
            return recorded_config(self.url, remote=True)
        except UserError:
            raise
        except Exception as error:  # of whichever library serves this kind of bucket
            raise self._explain("read", error) from error

    def store(self) -> None:
        """Copies the local files that have changed since they were last copied.

        Raises UserError where the bucket cannot be written.
        """
        try:
            for file in sorted(self.local.rglob("*")):
                name = file.relative_to(self.local)
                if file.is_dir() or file.name.startswith("."):
                    continue
                about = file.stat()
                version = (about.st_mtime_ns, about.st_size)
                if self._stored.get(name) != version:
                    (self.url / name).parent.mkdir(parents=True, exist_ok=True)
                    (self.url / name).write_bytes(file.read_bytes())
                    self._stored[name] = version
        except Exception as error:
            raise self._explain("write", error) from error

    def _explain(self, what: str, error: Exception) -> UserError:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return UserError(
            f"cannot {what} the workdir {self.url}: {reason}; check the name and your permissions, "
            "and that a library for such buckets is installed (gs://: tensorflow or gcsfs)"
        )
