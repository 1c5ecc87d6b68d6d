"""The best evaluated step of a fine-tuning run, kept in its work folder until the run finishes:
`best.json` (step, score, file) and the trained parameters in the file that it names,
`best-STEP.safetensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.files import read_json
from electra_jax.finetuning.result import write_figures
from electra_jax.interop.formats.safetensors import read_safetensors, write_safetensors
from electra_jax.modeling.trees import flatten, unflatten
from electra_jax.training.step import TrainState

_BEST = "best.json"


def read_best(workdir: Path) -> dict[str, Any] | None:
    """{"step", "score" (None: undefined), "file"} of the best so far; None where none is kept."""
    file = workdir / _BEST
    return read_json(file) if file.is_file() else None


def keep_best(workdir: Path, state: TrainState, step: int, score: float) -> None:
    """Writes the trained parameters of a step, then best.json, then removes the previous best."""
    previous = sorted(workdir.glob("best-*.safetensors"))
    name = f"best-{step:08d}.safetensors"
    flat = {n: np.asarray(x) for n, x in flatten(state.params).items()}
    write_safetensors(workdir / f"{name}.tmp", flat)
    (workdir / f"{name}.tmp").replace(workdir / name)
    write_figures(workdir / _BEST, {"step": step, "score": score, "file": name})
    for file in previous:
        if file.name != name:
            file.unlink(missing_ok=True)


def best_params(workdir: Path, *, nested: bool) -> Any:
    """The trained parameters of the best step: as a tree where `nested`, else by flat name."""
    best = read_best(workdir)
    assert best is not None
    flat = read_safetensors(workdir / best["file"])
    return unflatten(flat) if nested else flat


def remove_best_params(workdir: Path) -> None:
    """Called once the model folder is written; best.json stays."""
    for file in workdir.glob("best-*.safetensors"):
        file.unlink()
