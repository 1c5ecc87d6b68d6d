"""One cell of `worth.py` in a process of its own: a pretraining, a fine-tuned score, BLiMP, TF-IDF.

Everything that is ours goes through the public functions, as a user would.
"""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import electra_jax
from electra_jax import get_config
from electra_jax.objectives.table import find_objective

MASKED_LM, OURS, RANDOM = "masked_lm", "ours", "random"
REFERENCE, PYTORCH, TFIDF = "reference", "pytorch", "tfidf"
RESAMPLES = 200
CONTESTANTS = (OURS, RANDOM, MASKED_LM, REFERENCE, PYTORCH, TFIDF)
PRETRAINED = (OURS, MASKED_LM, REFERENCE, PYTORCH)

# What all fine-tuning of this table has beside configs/finetune.py: small models need more steps
# than the paper's recipe gives, and no layer-wise decay (LOG.md, 2026-11-26).
FINETUNING: dict[str, Any] = {
    "model.pooling": "mean",
    "optimizer.learning_rate": 1e-3,
    "optimizer.layerwise_decay": 1.0,
    "data.double_unordered": False,
    "train.tensorboard": False,
    "train.restarts": 0,
}
# The recipe of ours, over configs/pretrain.py:tiny. It is being searched: `--override` replaces a
# field.
RECIPE: dict[str, Any] = {
    "model.embedding_size": 192,
    "model.hidden_size": 192,
    "model.num_hidden_layers": 3,
    "model.num_attention_heads": 3,
    "model.intermediate_size": 288,
    "model.generator.hidden_size": 192,
    "model.generator.num_attention_heads": 3,
    "model.generator.intermediate_size": 288,
    "objective.discriminator_weight": 10.0,
    "optimizer.learning_rate": 1e-3,
    "optimizer.warmup_fraction": 0.06,
    "train.batch_size": 64,
}
# ELECTRA-Small's own recipe (configs/pretrain.py:small) with its warm-up scaled to the budget.
REFERENCE_RECIPE: dict[str, Any] = {
    "optimizer.warmup_steps": None,
    "optimizer.warmup_fraction": 0.01,
}


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of a track: a row of the task table on a folder of ELECTRA_JAX_DATA.

    `examples`: train on the first so many. `evaluated`: score the first so many of the dev set.
    """

    name: str
    task: str
    folder: str
    epochs: float
    max_length: int = 128
    examples: int | None = None
    evaluated: int | None = None
    split: str = "dev"
    seeds: int = 3
    tfidf: bool = True

    def files(self) -> dict[str, str]:
        """Training and evaluation file by configuration field."""
        root = Path(os.environ["ELECTRA_JAX_DATA"]) / self.folder
        return {
            "data.path": str(root / "train.jsonl.gz"),
            "data.eval_path": str(root / f"{self.split}.jsonl.gz"),
        }


@dataclasses.dataclass(frozen=True)
class Track:
    """Text to pretrain on (folders of ELECTRA_JAX_DATA), its tokenizer, and tasks."""

    name: str
    corpora: tuple[str, ...]
    vocabulary: int
    tasks: tuple[Task, ...]
    pretrainings: int = 1
    blimp: bool = False

    def text(self) -> list[str]:
        """The training files."""
        root = Path(os.environ["ELECTRA_JAX_DATA"])
        return [str(root / corpus / "train.jsonl.gz") for corpus in self.corpora]


TRACKS = {
    "english": Track(
        "english",
        ("pretrain_enwiki", "pretrain_books", "pretrain_openstax"),
        8192,
        (
            Task("sst2_10k", "sst2", "glue_sst2", 3, 64, examples=10_000),
            Task("mrpc", "mrpc", "glue_mrpc", 5, tfidf=False),
            Task("stsb", "stsb", "glue_stsb", 5, tfidf=False),
            Task("wnut17", "ner", "ner_wnut17", 5, tfidf=False),
            Task("qnli", "qnli", "glue_qnli_sub", 3, seeds=1, tfidf=False),
            Task("squad1", "squad1", "squad_v1.1", 2, 256, evaluated=1_500, seeds=1, tfidf=False),
        ),
        pretrainings=2,
        blimp=True,
    ),
    "chinese": Track(
        "chinese",
        ("pretrain_zhwiki",),
        8192,
        (
            Task("chnsenticorp", "classification", "zh_chnsenticorp", 3),
            Task("lcqmc", "pair", "zh_lcqmc", 2, 64, examples=20_000, tfidf=False),
            Task("ocnli", "pair", "zh_ocnli", 2, 64, examples=20_000, tfidf=False),
            Task("resume_zh", "ner", "ner_resume_zh", 3, tfidf=False),
        ),
    ),
    # Recipes are chosen on these; the tracks' dev sets are read once.
    "search": Track(
        "search",
        ("pretrain_enwiki", "pretrain_books", "pretrain_openstax"),
        8192,
        (
            Task("ag_news_2k", "classification", "cls_ag_news_sub", 4, examples=2_000),
            Task("scicite", "classification", "cls_scicite", 3, examples=4_000),
            Task("qqp_5k", "qqp", "glue_qqp_sub", 3, 64, examples=5_000, tfidf=False),
        ),
        blimp=True,
    ),
}


def prepared(track: Track, folder: Path, seq_len: int) -> dict[str, Any]:
    """Vocabulary and rows in `folder`; the seconds that they took, kept beside them."""
    record = folder / "prepared.json"
    if not record.is_file():
        begin = time.perf_counter()
        electra_jax.train_vocabulary(
            track.text(), "wordpiece", track.vocabulary, folder / "tokenizer", progress=False
        )
        rows = electra_jax.prepare(
            track.text(), folder / "tokenizer", folder / "rows", seq_len=seq_len, progress=False
        )
        seconds = time.perf_counter() - begin
        record.write_text(json.dumps({"seconds": seconds, "rows": rows["splits"]["train"]}))
    return dict(json.loads(record.read_text()))


def pretraining_config(
    contestant: str, rows: Path, seed: int, budget: dict[str, Any], overrides: dict[str, Any]
) -> Any:
    """The configuration of a contestant that this library pretrains. `budget` is {"minutes": …},
    or {"steps": …} of an earlier resolution; `overrides` are of the recipe of ours."""
    name = "pretrain:small" if contestant == REFERENCE else "pretrain:tiny"
    given: dict[str, Any] = {"data.path": rows, "train.seed": seed, "train.tensorboard": False}
    given |= {f"train.{unit}": value for unit, value in budget.items()}
    if contestant == REFERENCE:
        given |= REFERENCE_RECIPE
    if contestant == MASKED_LM:
        given["objective.name"] = "masked_lm"
    if contestant != REFERENCE:
        names = find_objective(str(given.get("objective.name", "electra"))).Settings
        known = {f"objective.{f.name}" for f in dataclasses.fields(names)}
        recipe = {**RECIPE, **overrides}
        given |= {k: v for k, v in recipe.items() if k in known or k[:10] != "objective."}
    return get_config(name, given)


def pretrain(
    contestant: str,
    rows: Path,
    seed: int,
    budget: dict[str, Any],
    workdir: Path,
    overrides: dict[str, Any],
) -> dict[str, Any]:
    """One pretraining; `model` is the folder that tasks start from."""
    begin = time.perf_counter()
    if contestant == PYTORCH:
        from worth_peer import pretrain as pretrain_with_pytorch

        found = pretrain_with_pytorch(rows, seed, budget, workdir, overrides)
    elif contestant == RANDOM:
        parts = electra_jax.build_pretraining(
            pretraining_config(OURS, rows, seed, {"steps": 1}, overrides), workdir
        )
        models = parts.save(parts.init().params)
        found = {"model": str(models["discriminator"]), "steps": 0}
    else:
        result = electra_jax.pretrain(
            pretraining_config(contestant, rows, seed, budget, overrides), workdir, quiet=True
        )
        # Masked-LM's one network is called the generator.
        models = {name: str(path) for name, path in result.models.items()}
        found = {
            "model": models.get("discriminator") or models["generator"],
            "models": models,
            "steps": result.steps,
            "metrics": result.metrics | {f"eval_{k}": v for k, v in result.eval_metrics.items()},
        }
    return found | {"seconds": time.perf_counter() - begin}


def finetune(task: Task, model: str, seed: int, workdir: Path) -> dict[str, Any]:
    """One task from a model: the dev set is scored once, after the last step."""
    given: dict[str, Any] = {**FINETUNING, **task.files(), "init": model}
    given |= {"train.epochs": task.epochs, "data.max_length": task.max_length}
    given |= {"train.seed": seed, "train.select": "last", "train.eval_every": 10**9}
    if task.examples:
        given["data.train_examples"] = task.examples
    if task.evaluated:
        given["data.eval_path"] = _first_lines(given["data.eval_path"], task.evaluated, workdir)
    if json.loads((Path(model) / "config.json").read_text())["model_type"] != "modernbert":
        given["model.pooling"] = None  # these blocks have [CLS] alone
    result = electra_jax.finetune(get_config(f"finetune:{task.task}", given), workdir, quiet=True)[
        0
    ]
    return {
        "score": result.score,
        "scores": result.scores,
        "metric": result.metric,
        "failure": result.failure,
        "seconds": result.seconds,
        "resampled": resampled_scores(str(result.model), given["data.eval_path"], result.metric),
    }


def resampled_scores(model: str, file: str, metric: str, count: int = RESAMPLES) -> list[float]:
    """The metric over resampled evaluation examples, the same ones for every contestant."""
    from electra_jax.inference.input_file import InputFile

    predictor = electra_jax.Predictor(model)
    trained = predictor.trained
    codec, kind = trained.codec, trained.network.kind
    examples = list(InputFile(file, trained, columns=None, labelled=True).examples())
    answers = [kind.for_scores(answer) for answer in predictor.answers(examples)]
    random = np.random.default_rng(0)
    found = []
    for _ in range(count):
        chosen = random.integers(len(examples), size=len(examples))
        scores = codec.score([examples[i] for i in chosen], [answers[i] for i in chosen])
        found.append(round(float(scores[metric]), 3))
    return found


def tfidf(task: Task) -> dict[str, Any]:
    """TF-IDF of words and characters with logistic regression, where a task is one text's class."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    files = task.files()
    train, dev = (_texts_and_labels(files[name]) for name in ("data.path", "data.eval_path"))
    texts, labels = (column[: task.examples] for column in train)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(
        analyzer="char_wb" if task.folder[:3] != "zh_" else "char",
        ngram_range=(1, 5), sublinear_tf=True, min_df=2,
    )  # fmt: skip
    model = make_pipeline(make_union(words, characters), LogisticRegression(C=10, max_iter=1000))
    begin = time.perf_counter()
    model.fit(texts, labels)
    right = np.asarray(model.predict(dev[0])) == np.asarray(dev[1])
    random = np.random.default_rng(0)
    sample = [random.integers(len(right), size=len(right)) for _ in range(RESAMPLES)]
    return {
        "score": 100 * float(right.mean()),
        "metric": "accuracy",
        "seconds": time.perf_counter() - begin,
        "resampled": [round(100 * float(right[chosen].mean()), 3) for chosen in sample],
    }


def blimp(models: dict[str, str]) -> dict[str, Any]:
    """BLiMP of every network of a pretraining; `score` is the better one's."""
    from blimp import accuracy, margins, read_pairs

    pairs = read_pairs(Path(os.environ["ELECTRA_JAX_DATA"]) / "blimp" / "dev.jsonl.gz")
    found = {
        name: accuracy(pairs, margins(electra_jax.load(path), pairs))
        for name, path in models.items()
    }
    return {"score": max(each["mean"] for each in found.values()), "networks": found}


def _texts_and_labels(file: str) -> tuple[list[str], list[Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    text = next(k for k in ("text", "sentence", "review") if k in records[0])
    return [record[text] for record in records], [record["label"] for record in records]


def _first_lines(file: str, count: int, folder: Path) -> str:
    folder.parent.mkdir(parents=True, exist_ok=True)
    target = folder.with_name(f"{folder.name}-dev.jsonl")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        target.write_text("".join(itertools.islice(lines, count)), encoding="utf-8")
    return str(target)
