"""The file of a fine-tuned model's kind, where that is a user's own.

A model folder holds no code: it records the file's path, class and digest. Loading the model runs
the file only where it still exists, unchanged, and outside the folder (which may have been
downloaded); otherwise the user has to name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.files import sha256_of
from electra_jax.plugins import is_file_reference

_KEY = "kind_file"


def file_of(kind: str) -> Path | None:
    """The file of a kind named FILE.py:CLASS; None for a kind of the package."""
    if not is_file_reference(kind):
        return None
    return Path(kind.rpartition(":")[0]).expanduser().resolve()


def origin(kind: str) -> dict[str, Any]:
    """The entry of `task_settings` for a kind's file; {} for a kind of the package."""
    file = file_of(kind)
    if file is None:
        return {}
    name = kind.rpartition(":")[2]
    return {_KEY: {"path": str(file), "class": name, "sha256": sha256_of(file)}}


def recorded_task(stated: Mapping[str, Any], source: str) -> str:
    """The task recorded in a model's `task_settings`, as `get_task` takes it.

    Raises `UserError` where its kind's file is gone, changed, or in the model folder.
    """
    recorded = stated.get(_KEY)
    if recorded is None:
        return str(stated["task"])
    file, name = Path(recorded["path"]), recorded["class"]
    if not file.is_file():
        why = "is not there"
    elif file.resolve().is_relative_to(Path(source).expanduser().resolve()):
        why = "lies in the model folder, whose code is not run unasked"
    elif sha256_of(file) != recorded["sha256"]:
        why = "has changed since"
    else:
        return f"{file}:{name}"
    raise UserError(
        f"{source} was trained with the kind {name} of {file}, which {why}: read the file that you "
        f"mean and name it with --task=FILE.py:{name}"
    )
