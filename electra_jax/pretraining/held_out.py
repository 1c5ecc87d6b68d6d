"""The evaluations of a pretraining run: held-out rows beside the training rows of each folder."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from jax.sharding import Mesh

from electra_jax.data.batches import eval_batches
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError
from electra_jax.training.metrics_log import EVAL
from electra_jax.training.run import Evaluation, LoopSettings
from electra_jax.training.sharding import local_batch_indices

log = logging.getLogger(__name__)


def open_held_out(path: str) -> Rows | None:
    """The held-out rows beside the training rows; None, and a warning, without."""
    try:
        rows = Rows.open(path, "eval")
    except UserError:
        log.warning("%s has no held-out rows: nothing is evaluated during the run", path)
        return None
    return rows if rows.count else None


def evaluations(
    held_out: Rows | None,
    folders: Sequence[str],
    settings: LoopSettings,
    max_rows: int | None,
    mesh: Mesh,
) -> list[Evaluation]:
    """An evaluation of each folder's held-out rows, where it has some (`held_out`: the first
    folder's); of `max_rows` at most.

    The metrics of the first folder are called `eval_…`, those of the others of a mixture
    `eval_FOLDER_…`.
    """
    size = settings.batch_size // settings.accumulate  # what fits in a training step
    indices = local_batch_indices(mesh, size)
    found = []
    splits = [held_out, *map(open_held_out, folders[1:])]
    for name, rows in zip(_prefixes(folders), splits, strict=True):
        if rows is not None:
            batches = functools.partial(eval_batches, rows, size, max_rows, indices)
            found.append(Evaluation(batches, size, name))
    return found


def _prefixes(folders: Sequence[str]) -> list[str]:
    """A folder is called by its name, or by its parent's where that says nothing (`wiki/rows`)."""
    paths = [Path(folder).absolute() for folder in folders]
    names = [path.parent.name if path.name == "rows" else path.name for path in paths]
    clean = [re.sub(r"\W+", "_", name).strip("_") or "rows" for name in names]
    return [
        "eval" if not i else f"{EVAL}{name}" + (f"_{i}" if clean.count(name) > 1 else "")
        for i, name in enumerate(clean)
    ]
