"""What a fine-tuning run came to: one seed's figures, on disk and in words, and several seeds'
statistics. Apart from the run, because reports, restarts and the command line read it too."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.training.workdir import write_json_atomic

RESULT = "result.json"
REMEDY = (
    "try more steps (train.epochs, train.min_steps), another optimizer.learning_rate, or an "
    "encoder that was pretrained for longer"
)


@dataclasses.dataclass(frozen=True)
class Result:
    """What one seed came to. `failure` says why it counts as a run that did not learn."""

    seed: int
    step: int
    metric: str
    score: float | None
    scores: dict[str, float]
    test_scores: dict[str, float]
    failure: str | None
    restarts: int
    trained_parameters: int
    trained_without_head: int
    parameters: int
    seconds: float


def write_result(workdir: Path, result: Result) -> None:
    """result.json: its presence says that the run is finished."""
    write_figures(workdir / RESULT, dataclasses.asdict(result))


def read_result(workdir: Path) -> Result | None:
    """The result of a finished run, None of another."""
    file = workdir / RESULT
    if not file.is_file():
        return None
    fields = json.loads(file.read_text(encoding="utf-8"))
    for name in ("scores", "test_scores"):
        fields[name] = {k: math.nan if v is None else v for k, v in fields[name].items()}
    return Result(**fields)


def write_figures(path: Path, content: Any) -> None:
    """Writes JSON whole or not at all; undefined numbers as null, which JSON has."""
    write_json_atomic(path, with_nulls(content))


def with_nulls(value: Any) -> Any:
    """The value with None for every number that is undefined, as JSON has no other word for it."""
    if isinstance(value, dict):
        return {k: with_nulls(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [with_nulls(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summarize(results: Sequence[Result]) -> dict[str, Any]:
    """Mean, sample standard deviation, median, least and greatest of the task's metric over
    seeds."""
    scores = [r.score for r in results if r.score is not None and math.isfinite(r.score)]
    if not scores:
        return {"runs": len(results)}
    values = np.asarray(scores, float)
    return {
        "runs": len(results),
        "metric": results[0].metric,
        "mean": float(values.mean()),
        "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        "median": float(np.median(values)),
        "min": float(values.min()),
        "max": float(values.max()),
        "each": scores,
        "did_not_learn": [r.seed for r in results if r.failure],
        "restarts": sum(r.restarts for r in results),
    }


def describe_result(result: Result) -> str:
    """One line for the terminal."""
    scores = ", ".join(f"{name} {value:.4g}" for name, value in result.scores.items())
    line = scores or ("no scores" if result.failure else "no evaluation data")
    if result.test_scores:
        test = ", ".join(f"{name} {value:.4g}" for name, value in result.test_scores.items())
        line += f"; test: {test}"
    if result.restarts:
        line += f" (after {result.restarts} restarts)"
    return line + (f"; DID NOT LEARN: {result.failure}; {REMEDY}" if result.failure else "")
