"""The result of a fine-tuning run, on disk and as a line of text, and statistics over seeds. Apart
from the run, because reports, restarts and the command line read it too."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.files import read_json, write_json_atomic

RESULT = "result.json"
RESTART_STEP = 1_000_003
"""Between the seeds of a run's attempts."""
REMEDY = (
    "try more steps (train.epochs, train.min_steps), another optimizer.learning_rate, or an "
    "encoder that was pretrained for longer"
)


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of one seed. `failure`: why it counts as not having learned."""

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

    @property
    def first_seed(self) -> int:
        """The seed of the first attempt, which names the folder."""
        return self.seed - RESTART_STEP * self.restarts


def write_result(workdir: Path, result: Result) -> None:
    """Writes result.json, whose presence marks the run as finished."""
    write_figures(workdir / RESULT, dataclasses.asdict(result))


def read_result(workdir: Path) -> Result | None:
    """The result of a finished run, None of an unfinished one."""
    file = workdir / RESULT
    if not file.is_file():
        return None
    fields = read_json(file)
    for name in ("scores", "test_scores"):
        fields[name] = {k: math.nan if v is None else v for k, v in fields[name].items()}
    return Result(**fields)


def write_figures(path: Path, content: Any) -> None:
    """Writes JSON atomically, non-finite numbers as null."""
    write_json_atomic(path, with_nulls(content))


def with_nulls(value: Any) -> Any:
    """The value with None for every number that is not finite, which JSON cannot hold."""
    if isinstance(value, dict):
        return {k: with_nulls(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [with_nulls(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summarize(results: Sequence[Result]) -> dict[str, Any]:
    """Mean, sample standard deviation, median, minimum and maximum of the task's metric over the
    seeds that have a score (`scored` of `runs`); `each` seed's (None without one); the seeds that
    did not learn, and the number of restarts."""
    each = [r.score if r.score is not None and math.isfinite(r.score) else None for r in results]
    values = np.asarray([score for score in each if score is not None], float)
    statistics = {}
    if len(values):
        statistics = {
            "mean": float(values.mean()),
            "std": float(values.std(ddof=1)) if len(values) > 1 else None,
            "median": float(np.median(values)),
            "min": float(values.min()),
            "max": float(values.max()),
        }
    return {
        "runs": len(results),
        "scored": len(values),
        "metric": results[0].metric,
        **statistics,
        "each": each,
        "did_not_learn": [r.first_seed for r in results if r.failure],
        "restarts": sum(r.restarts for r in results),
    }


def describe_summary(s: dict[str, Any]) -> str:
    """`summarize`'s figures as one line for the terminal."""
    runs = (
        f"{s['runs']} seeds" if s["scored"] == s["runs"] else f"{s['scored']} of {s['runs']} seeds"
    )
    parts = [f"no score of {s['runs']} seeds"]
    if s["scored"]:
        parts = [f"{s['metric']} over {runs}: mean {s['mean']:.2f}"]
        parts += [f"standard deviation {s['std']:.2f}"] if s["std"] is not None else []
        each = ", ".join("none" if x is None else f"{x:.2f}" for x in s["each"])
        parts += [f"median {s['median']:.2f}", f"max {s['max']:.2f}", f"each {each}"]
    lost = s["did_not_learn"]
    seeds = f" (seed {', '.join(map(str, lost))})" if lost else ""
    line = f"{', '.join(parts)}; did not learn: {len(lost)}{seeds}, restarts: {s['restarts']}"
    return line + (f"; {REMEDY}" if lost else "")


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
