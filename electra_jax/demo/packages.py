"""What the demo's model is good for: of which of four installed packages a paragraph of
documentation is, learnt from a hundred paragraphs of each, beside the same network with random
weights."""

from __future__ import annotations

import collections
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.data.row_format import held_out

PACKAGES = 4
EXAMPLES = 100  # of each package, to train on
OF_A_MODULE = 5  # of them, so that no module is a package's voice
EVALUATED = 150  # of each package, at most
SHORTEST, LONGEST = 100, 300  # characters of a paragraph
SEEDS = 3
RECIPE: Mapping[str, Any] = {
    "model.pooling": "mean",
    "optimizer.learning_rate": 1e-3,
    "optimizer.layerwise_decay": 1.0,
    "data.max_length": 64,
    "train.epochs": 10,
    "train.eval_every": 10**9,
    "train.select": "last",
    "train.restarts": 0,
    "train.tensorboard": False,
    "seeds": SEEDS,
}


def package_of(source: str) -> str:
    """The installed package of a module's file; "" of a single file."""
    first, slash, _ = source.partition("/")
    return first if slash else ""


def paragraphs(text: str) -> list[str]:
    """The paragraphs of running text in docstrings, cut to LONGEST characters at a word's end."""
    found = []
    for block in text.split("\n\n"):
        flat = " ".join(block.split())
        letters = sum(c.isalpha() or c == " " for c in flat)
        if len(flat) >= SHORTEST and letters >= 0.85 * len(flat):
            found.append(flat[:LONGEST].rsplit(" ", 1)[0] if len(flat) > LONGEST else flat)
    return found


def package_examples(
    text: Path, eval_fraction: float, seed: int = 0
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """(training, evaluation) records {"text", "label"} from the demo's text.

    The packages are those with most paragraphs in the held-out modules, which pretraining has not
    seen (`eval_fraction` and `seed` as `prepare` had them); these are the evaluation examples. The
    training examples are of other modules.
    """
    with open(text, encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    hidden = held_out(seed, eval_fraction, 0, len(documents))
    found: dict[bool, dict[str, list[str]]] = {True: {}, False: {}}
    for document, is_hidden in zip(documents, hidden.tolist(), strict=True):
        if package := package_of(document["source"]):
            some = paragraphs(document["text"])[: None if is_hidden else OF_A_MODULE]
            found[is_hidden].setdefault(package, []).extend(some)
    unseen = {
        package: len(some)
        for package, some in found[True].items()
        if len(found[False].get(package, [])) >= EXAMPLES
    }
    chosen = sorted(unseen, key=lambda package: (-unseen[package], package))[:PACKAGES]
    train, evaluation = (
        [
            {"text": paragraph, "label": package}
            for package in sorted(chosen)
            for paragraph in found[is_hidden][package][:most]
        ]
        for is_hidden, most in ((False, EXAMPLES), (True, EVALUATED))
    )
    return train, evaluation


def use(
    text: Path, eval_fraction: float, starts: Mapping[str, str], workdir: Path
) -> dict[str, list[float]]:
    """Fine-tunes from each of `starts` (name → model folder) and returns the accuracies in percent
    by seed; {} where too little is installed."""
    from electra_jax.api.runs import finetune
    from electra_jax.config_file import get_config

    train, evaluation = package_examples(text, eval_fraction)
    if len({record["label"] for record in train}) < PACKAGES:
        return {}
    workdir.mkdir(parents=True, exist_ok=True)
    for name, records in (("train", train), ("dev", evaluation)):
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (workdir / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    found = {}
    for name, model in starts.items():
        config = get_config(
            "finetune:classification", {**RECIPE, "init": model, "data.path": str(workdir)}
        )
        results = finetune(config, workdir / name, quiet=True)
        found[name] = [float(result.scores["accuracy"]) for result in results]
    return found


def lines_of(
    scores: Mapping[str, Sequence[float]], evaluation: Sequence[Mapping[str, str]]
) -> list[list[str]]:
    """Rows (start, mean accuracy, its seeds) for a table, the most frequent package first."""
    labels = collections.Counter(record["label"] for record in evaluation)
    most = 100 * labels.most_common(1)[0][1] / sum(labels.values())
    table = [["the most frequent package", f"{most:.1f}", ""]]
    for name, values in scores.items():
        each = ", ".join(f"{value:.1f}" for value in values)
        table.append([name, f"{statistics.fmean(values):.1f}", each])
    return table
