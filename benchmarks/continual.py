"""Going on with new text: what is gained there, and what is forgotten, with and without replay.

    export ELECTRA_JAX_DATA=DATA
    python benchmarks/continual.py --steps=2000 --more=500 --scratch=runs/continual

A pair is pretrained on one text (`--old`, encyclopedia articles) and goes on with another (`--new`,
textbooks) for `--more` steps, once for each of `--replay`: so much of every thousand rows is from
the old text. One vocabulary, that of the old text. The recipe is `RECIPE` of `worth_cells.py`, with
a quarter of its rate for the second run. Printed are the held-out losses on both texts before and
after; the last line is one JSON object. Every run is resumable: the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from worth_cells import OURS, RECIPE, pretraining_config

import electra_jax

FIGURES = ("generator_loss", "discriminator_loss", "rtd_skill")
RATE = 0.25  # of the first run's


def rows_of(corpus: str, tokenizer: Path, output: Path) -> Path:
    """Rows of 128 tokens of a folder of ELECTRA_JAX_DATA; an eightieth is held out."""
    text = Path(os.environ["ELECTRA_JAX_DATA"]) / corpus / "train.jsonl.gz"
    if not (tokenizer / "tokenizer.json").exists():
        electra_jax.train_vocabulary([str(text)], "wordpiece", 8192, tokenizer, progress=False)
    electra_jax.prepare(
        [str(text)], tokenizer, output, seq_len=128, eval_fraction=0.0125, progress=False
    )
    return output


def held_out(models: dict[str, str], rows: Path, seed: int, workdir: Path) -> dict[str, float]:
    """A pair's figures on held-out rows: those that a run which starts from it has at step 0."""
    config = pretraining_config(
        OURS, rows, seed, {"steps": 1}, {**started(models), "train.eval_every": 1}
    )
    electra_jax.pretrain(config, workdir, quiet=True)
    with open(workdir / "metrics.jsonl", encoding="utf-8") as lines:
        first = next(row for row in map(json.loads, lines) if "eval_loss" in row)
    if first["step"] != 0:
        raise SystemExit(f"{workdir}: the first held-out figures are of step {first['step']}")
    return {name: first[f"eval_{name}"] for name in FIGURES}


def started(models: dict[str, str]) -> dict[str, Any]:
    """The fields that start a run from a pair."""
    return {"init": models["discriminator"], "init_generator": models["generator"]}


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """The figures of every run on both texts."""
    scratch = Path(a.scratch)
    tokenizer = scratch / "tokenizer"
    old, new = (rows_of(corpus, tokenizer, scratch / corpus / "rows") for corpus in (a.old, a.new))
    over: dict[str, Any] = {} if a.batch_size is None else {"train.batch_size": a.batch_size}
    config = pretraining_config(OURS, old, a.seed, {"steps": a.steps}, over)
    models = folders(electra_jax.pretrain(config, scratch / "first", quiet=True))
    found = {"before": both(models, old, new, a.seed, scratch / "before")}
    rate = float(config["optimizer"]["learning_rate"]) * RATE
    for share in a.replay:
        mixture: Any = {str(new): 1 - share, str(old): share} if share else new
        more = {**over, **started(models), "optimizer.learning_rate": rate}
        config = pretraining_config(OURS, mixture, a.seed + 1, {"steps": a.more}, more)
        name = f"replay {share:.0%}"
        result = electra_jax.pretrain(config, scratch / name.replace(" ", "-"), quiet=True)
        where = scratch / f"after-{name.replace(' ', '-')}"
        found[name] = both(folders(result), old, new, a.seed, where)
        print_row(name, found[name])
    return {"recipe": RECIPE, "steps": a.steps, "more": a.more, "figures": found}


def both(
    models: dict[str, str], old: Path, new: Path, seed: int, workdir: Path
) -> dict[str, dict[str, float]]:
    """`held_out` of the old and the new text."""
    return {
        name: held_out(models, rows, seed, workdir / name)
        for name, rows in (("old", old), ("new", new))
    }


def folders(result: Any) -> dict[str, str]:
    """The model folders of a run."""
    return {name: str(path) for name, path in result.models.items()}


def print_row(name: str, figures: dict[str, dict[str, float]]) -> None:
    """A line of the table."""
    cells = [f"{figures[text][f]:.3f}" for text in ("old", "new") for f in FIGURES]
    print(f"{name:12} {' '.join(cells)}", flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--old", default="pretrain_enwiki")
    parser.add_argument("--new", default="pretrain_openstax")
    parser.add_argument("--steps", type=int, default=2000, help="of the first run")
    parser.add_argument("--more", type=int, default=500, help="of each second run")
    parser.add_argument("--replay", type=float, nargs="+", default=[0.0, 0.05, 0.25])
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", default="runs/continual")
    a = parser.parse_args()
    if "ELECTRA_JAX_DATA" not in os.environ:
        parser.error("ELECTRA_JAX_DATA: set it to the folder of the data sets")
    print(f"{'':12} old: {', '.join(FIGURES)}; new: the same")
    print(json.dumps(measure(a)))


if __name__ == "__main__":
    main()
