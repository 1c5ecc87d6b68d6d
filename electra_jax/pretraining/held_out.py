"""The evaluations of a pretraining run: held-out rows beside the training rows of each folder."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from electra_jax.data.batches import eval_batches
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError
from electra_jax.training.metrics_log import EVAL
from electra_jax.training.run import Evaluation

log = logging.getLogger(__name__)


def open_held_out(path: str) -> Rows | None:
    """The held-out rows beside the training rows; None, and a warning, without."""
    try:
        rows = Rows.open(path, "eval")
    except UserError:
        log.warning("%s has no held-out rows: nothing is evaluated during the run", path)
        return None
    return rows if rows.count else None


def held_out_evaluations(
    held_out: Sequence[Rows | None],
    folders: Sequence[str],
    batch_size: int,
    max_rows: int | None,
    batch_indices: NDArray[np.int64],
) -> list[Evaluation]:
    """An evaluation of each folder's held-out rows, where it has some.

    The metrics of the first folder are called `eval_…`, those of the others of a mixture
    `eval_FOLDER_…`. `max_rows`, `batch_size` and `batch_indices` are those of `eval_batches`.
    """
    found = []
    for name, rows in zip(_prefixes(folders), held_out, strict=True):
        if rows is not None:
            batches = functools.partial(eval_batches, rows, batch_size, max_rows, batch_indices)
            found.append(Evaluation(batches, batch_size, name))
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
