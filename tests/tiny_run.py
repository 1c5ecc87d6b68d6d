"""A pretraining run small enough for a test: the shipped configuration shrunk, on real rows."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from electra_jax.config_file import load_config
from electra_jax.preparation.prepare import prepare
from electra_jax.pretraining.run import Pretraining
from electra_jax.text.tokenizers.train import train_vocabulary

WORDS = (
    "the a of one river stone garden light winter summer quiet old new walks sees keeps finds "
    "house bridge letter morning evening bird tree cloud teacher sailor under over near beyond"
).split()

OVERRIDES = (
    "--config=configs/pretrain.py:tiny",
    "--config.model.hidden_size=16",
    "--config.model.embedding_size=16",
    "--config.model.num_hidden_layers=2",
    "--config.model.intermediate_size=24",
    "--config.model.num_attention_heads=2",
    "--config.model.generator.hidden_size=16",
    "--config.model.generator.intermediate_size=24",
    "--config.model.generator.num_attention_heads=2",
    "--config.model.hidden_dropout_prob=0.1",
    "--config.data.backend=numpy",
    "--config.optimizer.warmup_steps=4",
    "--config.train.steps=24",
    "--config.train.batch_size=8",
    "--config.train.log_every=4",
    "--config.train.eval_every=12",
    "--config.train.eval_rows=16",
    "--config.train.checkpoint_every=3",
    "--config.train.tensorboard=False",
)


def write_text(path: Path, documents: int = 60) -> Path:
    """Documents of a few sentences from a small vocabulary, blank lines between them."""
    draw = random.Random(7)
    texts = []
    for _ in range(documents):
        sentences = (
            " ".join(draw.choices(WORDS, k=draw.randint(4, 12))).capitalize() + "."
            for _ in range(draw.randint(3, 9))
        )
        texts.append("\n".join(sentences))
    path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return path


def make_rows(folder: Path) -> Path:
    """A rows folder of 16-token rows with held-out rows, from text written beside it."""
    text = write_text(folder / "text.txt")
    train_vocabulary([str(text)], "wordpiece", 120, folder / "tokenizer", progress=False)
    rows = folder / "rows"
    prepare(
        [str(text)],
        folder / "tokenizer",
        rows,
        seq_len=16,
        workers=1,
        eval_fraction=0.1,
        progress=False,
    )
    return rows


def command(rows: Path, workdir: Path, *overrides: str) -> list[str]:
    """The command line of a tiny run."""
    return [
        sys.executable,
        "-m",
        "electra_jax",
        "pretrain",
        f"--workdir={workdir}",
        *OVERRIDES,
        f"--config.data.path={rows}",
        *overrides,
    ]


def run(rows: Path, workdir: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Runs it in a process of its own."""
    return subprocess.run(
        command(rows, workdir, *overrides), capture_output=True, text=True, env=environment()
    )


def environment() -> dict[str, str]:
    """Of child processes: this checkout first on the path."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
    return {**os.environ, "PYTHONPATH": path}


def metric_rows(workdir: Path) -> list[dict[str, float]]:
    """The rows of metrics.jsonl."""
    file = workdir / "metrics.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]


def models(workdir: Path) -> dict[str, bytes]:
    """The bytes of both exported networks."""
    return {
        name: (workdir / "model" / name / "model.safetensors").read_bytes()
        for name in ("discriminator", "generator")
    }


class Killed(Exception):
    """The end of a process."""


def pretrain(arguments: list[str], workdir: Path, killed_after: int | None = None) -> Path:
    """Trains in this process; with `killed_after` until so many batches have been read."""
    run = Pretraining.build(load_config(arguments)[0], workdir, quiet=True)
    if killed_after is None:
        run.train()
        return workdir
    batches = run.run.batches

    def dying(first_example):
        for number, batch in enumerate(batches(first_example)):
            if number == killed_after:
                raise Killed
            yield batch

    run.run.batches = dying
    with pytest.raises(Killed):
        run.train()
    return workdir


def without_speed(workdir: Path) -> list[dict[str, float]]:
    """The rows of metrics.jsonl but for what differs between two equal runs."""
    return [
        {k: v for k, v in row.items() if k not in ("tokens_per_second", "seconds")}
        for row in metric_rows(workdir)
    ]
