"""The table, picture and last line of `worth.py --summarize`.

A contestant's mean over tasks leaves out, in the comparison with another, the tasks that either of
them lacks. A difference is paired: by pretraining and seed, and over the same resamples of the
evaluation examples; its standard error adds the two variances, of seeds and of examples. "Better"
is a 95 % interval (1.96 standard errors) that excludes 0.
"""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, variance
from typing import Any

import numpy as np
from worth_cells import CONTESTANTS, OURS

Line = Mapping[str, Any]
Scores = dict[str, dict[tuple[int, int], Line]]  # task → (pretraining, seed) → line
ANCHORS = {"OPT-125M": 62.6, "RoBERTa-base": 69.5, "T5-base": 58.8}  # on 10 million words


def difference(one: Mapping[Any, Line], other: Mapping[Any, Line]) -> tuple[float, float]:
    """(mean, standard error) of one task's score here − there. Runs are paired by their key; where
    the other has a run for a seed alone, as random weights of one pretraining, by the seed."""
    pairs = []
    for (number, seed), line in one.items():
        found = other.get((number, seed)) or other.get((0, seed)) or other.get((0, 0))
        if found is not None:
            pairs.append((line, found))
    each = [a["score"] - b["score"] for a, b in pairs]
    resampled = np.mean([np.subtract(a["resampled"], b["resampled"]) for a, b in pairs], axis=0)
    seeds = variance(each) / len(each) if len(each) > 1 else 0.0
    return mean(each), math.sqrt(seeds + float(np.var(resampled, ddof=1)))


def compared(ours: Scores, theirs: Scores) -> dict[str, Any]:
    """Differences by task, and of the mean over the tasks that both have."""
    tasks = {task: difference(ours[task], theirs[task]) for task in ours if task in theirs}
    if not tasks:
        return {}
    error = math.sqrt(sum(e**2 for _, e in tasks.values())) / len(tasks)
    together = mean(d for d, _ in tasks.values())
    return {
        "mean": together,
        "stderr": error,
        "tasks": {
            task: {"difference": d, "stderr": e, "better": abs(d) > 1.96 * e and (d > 0) - (d < 0)}
            for task, (d, e) in tasks.items()
        },
    }


def tables(lines: Sequence[Line]) -> dict[str, Any]:
    """{"track minutes": {contestant: {"mean", "stderr", "tasks", "blimp", "beside ours"}}}."""
    tracks: dict[str, dict[str, Scores]] = collections.defaultdict(
        lambda: collections.defaultdict(lambda: collections.defaultdict(dict))
    )
    more: dict[tuple[str, str], dict[str, Any]] = collections.defaultdict(dict)
    for line in lines:
        track = f"{line['track']} {line['minutes']:g} {line['label']}".strip()
        if line["stage"] == "finetune":
            scores = tracks[track][line["contestant"]][line["task"]]
            scores[line["pretraining"], line["seed"]] = line
        else:
            more[track, line["contestant"]][line["stage"]] = line
    found: dict[str, Any] = {}
    for track, contestants in tracks.items():
        found[track] = {}
        for name in sorted(contestants, key=CONTESTANTS.index):
            scores = contestants[name]
            tasks = {t: mean(x["score"] for x in runs.values()) for t, runs in scores.items()}
            errors = [difference(runs, _zero(runs))[1] for runs in scores.values()]
            row: dict[str, Any] = {
                "mean": mean(tasks.values()),
                "stderr": math.sqrt(sum(e**2 for e in errors)) / len(errors),
                "tasks": tasks,
            }
            extra = more[track, name]
            if "blimp" in extra:
                row["blimp"] = extra["blimp"]["score"]
            if "pretrain" in extra:
                row["pretraining"] = {k: extra["pretrain"].get(k) for k in ("steps", "seconds")}
            if name != OURS and OURS in contestants:
                row["ours minus this"] = compared(contestants[OURS], scores)
            found[track][name] = row
    return found


def _zero(runs: Mapping[Any, Line]) -> dict[Any, Line]:
    return {k: {"score": 0.0, "resampled": [0.0] * len(x["resampled"])} for k, x in runs.items()}


def summarize(lines: Sequence[Line], picture: Path | None) -> None:
    """Prints the table of each track and budget, then one JSON line; draws the picture."""
    found = tables(lines)
    for track, contestants in found.items():
        tasks = sorted({task for row in contestants.values() for task in row["tasks"]})
        print(f"\n{track} minutes")
        print("| contestant | mean | ours − this | " + " | ".join(tasks) + " | BLiMP |")
        print("|" + "---|" * (len(tasks) + 4))
        for name, row in contestants.items():
            cells = [f"{row['tasks'][t]:.1f}" if t in row["tasks"] else "" for t in tasks]
            beside = row.get("ours minus this") or {}
            ahead = f"{beside['mean']:+.1f} ± {1.96 * beside['stderr']:.1f}" if beside else ""
            last = f"{row['blimp']:.1f}" if "blimp" in row else ""
            print(f"| {name} | {row['mean']:.1f} | {ahead} | {' | '.join(cells)} | {last} |")
        worse = {
            name: [t for t, d in row["ours minus this"]["tasks"].items() if d["better"] < 0]
            for name, row in contestants.items()
            if row.get("ours minus this")
        }
        for name, lost in worse.items():
            if lost:
                print(f"{name} is better on {', '.join(lost)}")
    if picture is not None:
        _draw(found, picture)
    print(json.dumps(found))


def _draw(found: Mapping[str, Any], picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(found), figsize=(5 * len(found), 3.2), squeeze=False, layout="constrained"
    )
    for axis, (track, contestants) in zip(axes[0], found.items(), strict=True):
        names = list(contestants)[::-1]
        means = [contestants[name]["mean"] for name in names]
        errors = [1.96 * contestants[name]["stderr"] for name in names]
        colours = ["#2a6fbb" if name == OURS else "#b8bec6" for name in names]
        axis.barh(names, means, xerr=errors, color=colours)
        axis.set_xlabel("mean score over the track's tasks")
        axis.set_title(f"{track} minutes")
    figure.savefig(picture, dpi=120)
