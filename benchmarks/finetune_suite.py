"""Fine-tuning on real data, here and with `transformers` on PyTorch: scores, seconds, memory.

    export ELECTRA_JAX_DATA=DATA ELECTRA_JAX_MINILM=MODEL
    python benchmarks/finetune_suite.py --tasks mrpc wnut17 --seeds=3 --output=results.jsonl
    python benchmarks/finetune_suite.py --summarize results.jsonl

Both sides start from the same model folder and read the same files with the same epochs, length
and batch size (32), on the same cores, in float32; both keep the best epoch by the task's metric.
Ours is the shipped recipe (configs/finetune.py). The peer (finetune_peer.py) takes the best of
`--peer_rates` on the first seed, and that rate for the others. Every run is a process of its own
and a line of the output; a run that has its line is not run again. `seconds` is training with its
evaluations, `wall_seconds` the whole process, `peak_bytes` its largest resident size.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from electra_jax.finetuning.codecs import make_codec
from electra_jax.finetuning.data.task_data import codec_settings, load_examples
from electra_jax.finetuning.task_table import collect_labels, get_task

OURS, PEER = "ours", "transformers"
FRAMEWORKS = (OURS, PEER)


@dataclasses.dataclass(frozen=True)
class Row:
    """One benchmark: a task of the task table on a folder of ELECTRA_JAX_DATA.

    `evaluation` is the split by which epochs are chosen and sides compared; `test` one scored once
    beside it. `examples`: only the first so many.
    """

    task: str
    folder: str
    epochs: float
    max_length: int = 128
    evaluation: str = "dev"
    test: str | None = None
    examples: int | None = None


SUITE = {
    "sst2_10k": Row("sst2", "glue_sst2", 2, 64, examples=10_000),
    "sst2": Row("sst2", "glue_sst2", 1, 64),
    "mrpc": Row("mrpc", "glue_mrpc", 3, test="test"),
    "stsb": Row("stsb", "glue_stsb", 3, test="test"),
    "wnut17": Row("ner", "ner_wnut17", 3, test="test"),
    "ncbi_disease": Row("ner", "ner_ncbi_disease", 3, test="test"),
    "ud_ewt": Row("pos", "pos_ud_ewt", 2, test="test"),
    "semeval2010_8": Row("semeval2010_8", "re_semeval2010_8", 3, evaluation="test"),
    "banking77": Row("classification", "intent_banking77", 4, 64, evaluation="test"),
    "arc_easy": Row("multiple_choice", "mc_arc_easy", 3, evaluation="test"),
    "squad1": Row("squad1", "squad_v1.1", 2, 256),
    "squad2": Row("squad2", "squad_v2.0", 2, 256),
    "chnsenticorp": Row("classification", "zh_chnsenticorp", 2, test="test"),
    "lcqmc": Row("pair", "zh_lcqmc", 2, 64, test="test"),
    "weibo_zh": Row("ner", "ner_weibo_zh", 5, test="test"),
    "resume_zh": Row("ner", "ner_resume_zh", 3, test="test"),
    "cmrc2018": Row("cmrc2018", "cmrc2018", 2, 256),
}


def files(row: Row) -> dict[str, str]:
    """The files of a row's splits, by role."""
    root = Path(os.environ["ELECTRA_JAX_DATA"]) / row.folder
    splits = {"train": "train", "eval": row.evaluation, "test": row.test}
    return {role: str(root / f"{split}.jsonl.gz") for role, split in splits.items() if split}


def run_ours(name: str, a: argparse.Namespace) -> dict[str, Any]:
    """One seed through the command line, as a user would."""
    from electra_jax.cli import main as electra_jax

    row, paths = SUITE[name], files(SUITE[name])
    model = str(_from_scratch(a.model, Path(a.scratch), a.seed)) if a.from_scratch else a.model
    config = {
        "init": model,
        "data.path": paths["train"],
        "data.eval_path": paths["eval"],
        "data.max_length": row.max_length,
        "data.double_unordered": False,
        "train.epochs": row.epochs,
        "train.seed": a.seed,
        "train.tensorboard": False,
        "tune.method": a.tune,
    }
    if row.test:
        config["data.test_path"] = paths["test"]
    if row.examples or a.limit:
        config["data.train_examples"] = a.limit or row.examples
    if a.learning_rate:
        config["optimizer.learning_rate"] = a.learning_rate
    workdir = Path(a.scratch) / "run"
    flags = [f"--config.{key}={value}" for key, value in config.items()] + a.flags
    status = electra_jax(
        ["finetune", f"--config=configs/finetune.py:{row.task}", f"--workdir={workdir}", *flags]
    )
    if status:
        raise SystemExit(status)
    result = json.loads((workdir / "result.json").read_text())
    kept = ("scores", "test_scores", "seconds", "metric", "failure", "restarts", "step")
    counts = ("trained_parameters", "trained_without_head", "parameters")
    return {key: result[key] for key in (*kept, *counts)}


def _from_scratch(model: str, folder: Path, seed: int) -> Path:
    """A model folder of the same shape and tokenizer with random weights."""
    import jax

    from electra_jax.interop.load import load_model_folder
    from electra_jax.interop.loaded import encoder_of
    from electra_jax.interop.mapping.infer_shapes import module_of
    from electra_jax.interop.mapping.names import ENCODER
    from electra_jax.interop.save import save_model_folder
    from electra_jax.modeling.electra import Inputs, padding_mask

    loaded = load_model_folder(model)
    config, _ = encoder_of(loaded)
    ids = jax.numpy.ones((1, 2), "int32")
    params = module_of(config, ENCODER).init(jax.random.key(seed), Inputs(ids, padding_mask(ids)))
    save_model_folder(
        folder / "scratch", ENCODER, config, params["params"], loaded.tokenizer_folder
    )
    return folder / "scratch"


def run_peer(name: str, a: argparse.Namespace) -> dict[str, Any]:
    """One seed of the peer; the library reads the examples and scores the answers."""
    import torch
    from finetune_peer import Peer, Recipe

    from electra_jax.text.tokenizers.tokenizer import load_tokenizer

    torch.set_num_threads(a.threads)
    row, paths, task = SUITE[name], files(SUITE[name]), get_task(SUITE[name].task)
    train = load_examples(task, paths["train"], {})[: a.limit or row.examples]
    labels = collect_labels(task, train)
    data = {"max_length": row.max_length, "double_unordered": False, "doc_stride": 128,
            "max_query_length": 64, "max_answer_length": 30, "n_best": 20,
            "on_bad_answer": "fail", "threshold": 0.5, "null_threshold": None,
            "tagging": "standard"}  # fmt: skip
    codec = make_codec(task, load_tokenizer(a.model), codec_settings(task, data, 512), labels)
    metric = getattr(codec, "metric", task.metric)
    splits = {s: load_examples(task, paths[s], {}, labels=labels) for s in paths if s != "train"}
    recipe = Recipe(row.epochs, row.max_length, a.learning_rate, a.seed)
    peer = Peer(task, labels, a.model, recipe)
    seconds = peer.train(train, splits["eval"], codec, metric)
    scores = {s: codec.score(examples, peer.predict(examples)) for s, examples in splits.items()}
    return {
        "scores": scores["eval"],
        "test_scores": scores.get("test", {}),
        "seconds": seconds,
        "metric": metric,
    }


def work(a: argparse.Namespace) -> None:
    """What a run's process does: trains and prints its line."""
    import resource

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: a.threads])
    (name,) = a.tasks
    found = (run_ours if a.framework == OURS else run_peer)(name, a)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    packages = ("jax", "flax", "optax") if a.framework == OURS else ("torch", "transformers")
    versions = {"python": platform.python_version(), **{p: version(p) for p in packages}}
    found |= {"peak_bytes": peak * (1 if sys.platform == "darwin" else 1024), "versions": versions}
    Path(a.result).write_text(json.dumps(found))


def variant(a: argparse.Namespace) -> str:
    """What a run has beside the defaults, as its lines are told apart."""
    parts = [a.tune] * (a.tune != "full") + ["from scratch"] * a.from_scratch
    parts += [a.note] * bool(a.note) + [f"{a.limit} examples"] * bool(a.limit)
    return ", ".join(parts)


def read(path: Path) -> list[dict[str, Any]]:
    """The finished runs."""
    return [json.loads(line) for line in path.open()] if path.is_file() else []


def run_all(a: argparse.Namespace) -> None:
    """Every run that has no line yet, one after the other."""
    end = time.monotonic() + a.hours * 3600
    for name in a.tasks:
        for seed in range(a.seeds):
            for framework in FRAMEWORKS if a.framework == "both" else (a.framework,):
                for rate in _rates(a, name, framework, seed):
                    if time.monotonic() > end:
                        print("out of time; the same command goes on from here")
                        return
                    _run_one(a, name, seed, framework, rate)


def _rates(a: argparse.Namespace, name: str, framework: str, seed: int) -> list[float | None]:
    if framework == OURS:
        return [a.learning_rate]
    if seed == 0:
        return list(a.peer_rates)
    return [peer_rate(read(a.output), name, variant(a))]


def peer_rate(lines: Sequence[dict[str, Any]], name: str, kind: str) -> float:
    """The learning rate with the peer's best score of seed 0."""
    first = [x for x in _runs(lines, PEER, name, kind) if x["seed"] == 0]
    return max(first, key=lambda x: x["scores"][x["metric"]])["learning_rate"]


def _runs(
    lines: Sequence[dict[str, Any]], framework: str, name: str, kind: str
) -> Iterator[dict[str, Any]]:
    key = (framework, name, kind)
    return (x for x in lines if (x["framework"], x["task"], x["variant"]) == key)


def _run_one(
    a: argparse.Namespace, name: str, seed: int, framework: str, rate: float | None
) -> None:
    done = _runs(read(a.output), framework, name, variant(a))
    if any((x["seed"], x["learning_rate"]) == (seed, rate) for x in done):
        return
    row = SUITE[name]
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "line.json"
        command = [sys.executable, __file__, f"--tasks={name}", f"--framework={framework}",
                   f"--seed={seed}", f"--threads={a.threads}", f"--model={a.model}",
                   f"--tune={a.tune}", f"--scratch={scratch}", f"--result={result}",
                   f"--limit={a.limit}", *(f"--flags={x}" for x in a.flags)]  # fmt: skip
        command += [f"--learning_rate={rate}"] if rate else []
        command += ["--from_scratch"] if a.from_scratch else []
        began = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": str(a.threads)}
        status = subprocess.run(command, env=environment).returncode
        if status:
            print(f"{framework} {name} seed {seed}: ended with status {status}", flush=True)
            return
        found = json.loads(result.read_text())
    line = {
        "framework": framework,
        "task": name,
        "seed": seed,
        "variant": variant(a),
        "learning_rate": rate,
        "model": Path(a.model).name,
        "flags": a.flags,
        **{key: getattr(row, key) for key in ("epochs", "max_length", "examples")},
        **found,
        "wall_seconds": time.perf_counter() - began,
        "threads": a.threads,
        "load": os.getloadavg()[1],
    }
    with a.output.open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    score = found["scores"][found["metric"]]
    print(f"{framework} {name} seed {seed} rate {rate}: {score:.2f}, {found['seconds']:.0f} s",
          flush=True)  # fmt: skip


def summarize(lines: Sequence[dict[str, Any]]) -> str:
    """A table: each benchmark's metric (mean ± standard deviation over seeds) on both sides."""
    head = "| benchmark | metric | ours | transformers | difference | in standard errors |"
    table = [f"{head} s ours / peer | MiB ours / peer |", "|---" * 8 + "|"]
    seeded: list[tuple[float, float]] = []
    for name, kind in dict.fromkeys((x["task"], x["variant"]) for x in lines):
        sides = [list(_runs(lines, OURS, name, kind)), list(_runs(lines, PEER, name, kind))]
        if sides[1]:
            rate = peer_rate(lines, name, kind)
            sides[1] = [x for x in sides[1] if x["learning_rate"] == rate]
        metric = next(x for side in sides for x in side)["metric"]
        for split, label in (("scores", metric), ("test_scores", f"test {metric}")):
            values = [[x[split][metric] for x in side if x.get(split)] for side in sides]
            if not any(values):
                continue
            cells = [name + f" ({kind})" * bool(kind), label, *map(_spread, values), "", "", "", ""]
            if all(values):
                cells[4] = f"{mean(values[0]) - mean(values[1]):+.2f}"
            if all(len(v) > 1 for v in values):
                error = sum(stdev(v) ** 2 / len(v) for v in values) ** 0.5
                cells[5] = f"{(mean(values[0]) - mean(values[1])) / error:+.1f}" if error else ""
                if split == "scores":
                    seeded.append((mean(values[0]), mean(values[1])))
            if split == "scores":
                cells[6] = " / ".join(_mean(side, "seconds", 1) for side in sides)
                cells[7] = " / ".join(_mean(side, "peak_bytes", 2**20) for side in sides)
            table.append("| " + " | ".join(cells) + " |")
    if seeded:
        ours, peer = (mean(side) for side in zip(*seeded, strict=True))
        table += ["", f"mean over {len(seeded)} seeded benchmarks: {ours:.2f} / {peer:.2f}"]
    rates = collections.Counter(x["learning_rate"] for x in lines if x["framework"] == PEER)
    return "\n".join([*table, f"peer's learning rates (runs): {dict(rates)}"])


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f}" if values else "–"
    return f"{mean(values):.2f} ± {stdev(values):.2f} ({len(values)})"


def _mean(side: Sequence[dict[str, Any]], key: str, unit: float) -> str:
    return f"{mean(x[key] for x in side) / unit:,.0f}" if side else "–"


def parser() -> argparse.ArgumentParser:
    """The flags."""
    result = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--summarize", type=Path, metavar="FILE", help="print the table and stop")
    result.add_argument("--output", type=Path, default=Path("results.jsonl"))
    result.add_argument("--framework", choices=(*FRAMEWORKS, "both"), default="both")
    result.add_argument("--tasks", nargs="+", choices=SUITE, default=list(SUITE))
    result.add_argument("--seeds", type=int, default=1)
    result.add_argument("--model", default=os.environ.get("ELECTRA_JAX_MINILM"))
    result.add_argument("--from_scratch", action="store_true", help="its shape, random weights")
    result.add_argument("--tune", choices=("full", "bitfit", "lora"), default="full")
    result.add_argument("--learning_rate", type=float, help="ours; default: the recipe's")
    result.add_argument("--peer_rates", type=float, nargs="+", default=[5e-5, 1e-4])
    result.add_argument("--flags", action="append", default=[], help="more --config.… of ours")
    result.add_argument("--note", default="", help="names the runs that have such flags")
    result.add_argument("--limit", type=int, default=0, help="only the first so many examples")
    result.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    result.add_argument("--hours", type=float, default=1e9, help="start no run after so long")
    for name, kind in (("--seed", int), ("--scratch", str), ("--result", str)):
        result.add_argument(name, type=kind, help=argparse.SUPPRESS)
    return result


def main() -> None:
    """Runs what is missing, or summarizes."""
    a = parser().parse_args()
    if a.summarize:
        print(summarize(read(a.summarize)))
    elif a.result:
        work(a)
    elif not a.model or "ELECTRA_JAX_DATA" not in os.environ:
        raise SystemExit("--model=FOLDER (or ELECTRA_JAX_MINILM) and ELECTRA_JAX_DATA must be set")
    else:
        run_all(a)
        print(summarize(read(a.output)))


if __name__ == "__main__":
    main()
