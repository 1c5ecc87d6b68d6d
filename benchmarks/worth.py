"""From raw text to scores: what an hour of pretraining here is worth, beside every other start.

    export ELECTRA_JAX_DATA=DATA
    python benchmarks/worth.py --track english --minutes=60 --plan
    python benchmarks/worth.py --track english --minutes=60 --scratch=runs/worth
    python benchmarks/worth.py --summarize

A track is text and tasks (`worth_cells.py`). Each contestant has the same wall clock from text to
model, vocabulary and rows included, then one fine-tuning recipe on each task with the same seeds:

| contestant | starts from |
|---|---|
| ours | `RECIPE` of `worth_cells.py`, `--override KEY=VALUE` |
| random | the same shape with random weights |
| masked_lm | masked-LM of the same shape |
| reference | ELECTRA-Small's recipe here, schedule and warm-up scaled to the budget |
| pytorch | `transformers`' classes, shape, vocabulary and rows of ours, the best of three rates |
| tfidf | TF-IDF and logistic regression, where a task is one text's class |

Every cell runs in a process of its own and is one line of `--output`; a cell that has its line is
not run again. `--steps` gives a pretraining its length in steps, for machines that do other work:
take them from a measurement on an idle one (`pretrain_step.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worth_cells import (
    CONTESTANTS,
    PRETRAINED,
    RANDOM,
    REFERENCE,
    TFIDF,
    TRACKS,
    Track,
    blimp,
    finetune,
    prepared,
    pretrain,
    tfidf,
)

HERE = Path(__file__).resolve().parent
FINETUNE_HOURS = 0.12  # a task and seed, about: of `--plan`
SEQ_LEN = 128
Cell = dict[str, Any]  # track, minutes, label, contestant, stage, pretraining, task, seed


def cells(track: Track, a: argparse.Namespace) -> Iterator[Cell]:
    """Every cell of a track, in the order in which they run."""
    common = {"track": track.name, "minutes": a.minutes, "label": a.label}
    for number in range(track.pretrainings):
        for contestant in a.contestants:
            if contestant == TFIDF or (contestant == REFERENCE and number):
                continue
            start = {**common, "contestant": contestant, "pretraining": number}
            yield {**start, "stage": "pretrain"}
            if track.blimp and contestant in PRETRAINED:
                yield {**start, "stage": "blimp"}
            for task in track.tasks:
                once = task.seeds == 1 or contestant == REFERENCE
                for seed in range(1 if once else min(task.seeds, a.seeds)):
                    if number == 0 or task.seeds > 1:
                        yield {**start, "stage": "finetune", "task": task.name, "seed": seed}
    if TFIDF in a.contestants:
        for task in track.tasks:
            if task.tfidf:
                yield {**common, "contestant": TFIDF, "stage": "finetune", "task": task.name,
                       "pretraining": 0, "seed": 0}  # fmt: skip


def run_cell(cell: Cell, a: argparse.Namespace) -> dict[str, Any]:
    """What a cell's process does."""
    from electra_jax.api.host import prepare_host

    prepare_host()
    track = TRACKS[cell["track"]]
    text = Path(a.scratch) / track.name
    start = Path(a.scratch) / f"{track.name}-{cell['minutes']:g}m{cell['label']}"
    start = start / f"{cell['contestant']}-{cell['pretraining']}"
    if cell["stage"] == "pretrain":
        ready = prepared(track, text, SEQ_LEN)
        left = cell["minutes"] * 60 - ready["seconds"]
        budget = {"steps": a.steps} if a.steps else {"minutes": left / 60}
        found = pretrain(
            cell["contestant"],
            text / "rows",
            cell["pretraining"],
            budget,
            start / "pretrained",
            dict(_override(text) for text in a.override),
        )
        (start / "pretrained.json").write_text(json.dumps(found))
        return found
    if cell["contestant"] == TFIDF:
        return tfidf(_task(track, cell["task"]))
    pretrained = json.loads((start / "pretrained.json").read_text())
    if cell["stage"] == "blimp":
        return blimp(pretrained["models"])
    task = _task(track, cell["task"])
    workdir = start / f"{task.name}-{cell['seed']}"
    return finetune(task, pretrained["model"], cell["seed"], workdir)


def _task(track: Track, name: str) -> Any:
    return next(task for task in track.tasks if task.name == name)


def run_all(a: argparse.Namespace) -> None:
    """Every cell that has no line yet, one after the other, each in a process of its own."""
    wanted = list(cells(TRACKS[a.track], a))
    done = {_key(line) for line in read(a.output)}
    for number, cell in enumerate(wanted, 1):
        if _key(cell) in done:
            continue
        begin = time.perf_counter()
        command = [sys.executable, str(HERE / "worth.py"), f"--cell={json.dumps(cell)}"]
        command += [f"--scratch={a.scratch}", f"--steps={a.steps}"]
        command += [f"--override={override}" for override in a.override]
        finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if finished.returncode:
            raise SystemExit(f"{_key(cell)}: the process ended with {finished.returncode}")
        found = json.loads(finished.stdout.splitlines()[-1])
        line = {**cell, **found, "overrides": a.override, "wall": time.perf_counter() - begin}
        with a.output.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        score = line.get("score")
        shown = f"{score:.2f}" if score is not None else f"{line.get('steps', 0):,} steps"
        print(f"[{number}/{len(wanted)}] {_key(cell)}: {shown} in {line['wall']:.0f} s", flush=True)


def _key(cell: Cell) -> str:
    names = ("track", "minutes", "label", "contestant", "stage", "pretraining", "task", "seed")
    return " ".join(str(cell.get(name, "-")) for name in names)


def _override(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def plan(a: argparse.Namespace) -> None:
    """Prints the expected hours by contestant."""
    hours: dict[str, float] = {}
    for cell in cells(TRACKS[a.track], a):
        cost = {"pretrain": a.minutes / 60, "blimp": 0.15}.get(cell["stage"], FINETUNE_HOURS)
        if cell["contestant"] in (RANDOM, TFIDF) and cell["stage"] == "pretrain":
            cost = 0.01
        if cell["contestant"] == TFIDF:
            cost = 0.02
        hours[cell["contestant"]] = hours.get(cell["contestant"], 0) + cost
    for contestant, cost in hours.items():
        print(f"{contestant:10} {cost:5.1f} h")
    print(f"{'together':10} {sum(hours.values()):5.1f} h")


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of finished cells."""
    return [json.loads(line) for line in path.open(encoding="utf-8")] if path.is_file() else []


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--track", choices=TRACKS, default="english")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument("--seeds", type=int, default=3, help="at most, of each task")
    parser.add_argument("--steps", type=int, default=0, help="of pretraining, not by the clock")
    parser.add_argument("--scratch", default="runs/worth", help="where runs are kept")
    parser.add_argument("--label", default="", help="a trial's name, in its lines and folders")
    parser.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE", help="of the recipe of ours"
    )
    parser.add_argument("--output", type=Path, default=HERE / "results" / "worth.jsonl")
    parser.add_argument("--plan", action="store_true", help="print the expected hours, run nothing")
    parser.add_argument("--summarize", action="store_true", help="table, picture and one JSON line")
    parser.add_argument("--picture", type=Path, help="of --summarize")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.cell:
        print(json.dumps(run_cell(json.loads(a.cell), a)))
    elif a.plan:
        plan(a)
    elif a.summarize:
        from worth_table import summarize

        summarize(read(a.output), a.picture)
    else:
        if "ELECTRA_JAX_DATA" not in os.environ:
            raise SystemExit("ELECTRA_JAX_DATA: set it to the folder of the data sets")
        a.output.parent.mkdir(parents=True, exist_ok=True)
        run_all(a)


if __name__ == "__main__":
    main()
