"""Makes what lies beside it: `python tests/training/b199300/make.py`, in a checkout with git.

Code of commit b199300 makes, on a CPU: rows and a pair of networks; a pretraining run and a
fine-tuning run, each stopped by SIGTERM after step 3 of 6; the losses of the other three steps,
from runs that nobody stopped; and a fine-tuned model of each kind with its answers. Everything is
float32 without dropout. tests/training/test_b199300.py reads it with the code of today.

To be made again only if lost: it stands for the files that users have.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1]
sys.path.insert(0, str(TESTS))

from same.inputs import RECORDS, write_inputs  # noqa: E402
from same_numbers import Side, checkout  # noqa: E402

COMMIT = "b199300"
STEPS, STOPPED, EXAMPLES = 6, 3, 4
TASKS = {
    "classification": "classification",
    "pair": "pair",
    "multilabel": "multilabel",
    "regression": "regression",
    "relation": "relation",
    "tagging": "tagging",
    "ner": "ner",
    "question_answering": "squad2",
    "squad1": "squad1",
    "multiple_choice": "choice",
    "ranking": "ranking",
}  # the table's name: the folder of its files
VARIANTS = {
    "lora": ("classification", "classification", "--config.tune.method=lora"),
    "reference_questions": ("question_answering", "squad2", "--config.model.head=reference"),
}

_SHAPE = (
    "hidden_size=8 embedding_size=8 num_hidden_layers=2 intermediate_size=16 num_attention_heads=2 "
    "max_position_embeddings=40 generator.hidden_size=8 generator.intermediate_size=8 "
    "generator.num_attention_heads=2 generator.num_hidden_layers=1 hidden_dropout_prob=0.0 "
    "attention_probs_dropout_prob=0.0"
)
_TRAIN = f"steps={STEPS} batch_size=8 log_every=1 eval_every=3 tensorboard=False"
PRETRAIN = (
    "--config=configs/pretrain.py:small",
    "--config.data.path=rows",
    *(f"--config.model.{word}" for word in _SHAPE.split()),
    *(f"--config.train.{word}" for word in _TRAIN.split()),
    "--config.train.checkpoint_every=3",
    "--config.optimizer.warmup_steps=2",
    "--config.optimizer.learning_rate=0.01",
)
TUNE = (
    "--config.init=pair/model",
    *(f"--config.train.{word}" for word in f"{_TRAIN} eval_batch_size=8 restarts=0".split()),
    "--config.model.hidden_dropout_prob=0.0",
    "--config.model.attention_probs_dropout_prob=0.0",
    "--config.model.classifier_dropout=0.0",
    "--config.optimizer.learning_rate=0.01",
    "--config.data.max_length=32",
    "--config.data.max_query_length=8",
    "--config.data.doc_stride=8",
    "--config.data.shapes=1",
)
_STOPPING = f"""
import sys
sys.path.insert(0, {str(TESTS / "same")!r})
from driver import StopAfter, command_line
StopAfter().left = {STOPPED}
sys.exit(command_line(sys.argv[1:]))
"""


def finetune(task: str, data: str, *words: str) -> list[str]:
    """The command line but for the work folder."""
    return [
        f"--config=configs/finetune.py:{task}",
        f"--config.data.path=tasks/{data}",
        *TUNE,
        *words,
    ]


def without_paths(folder: Path, work: str) -> None:
    """Orbax notes where it wrote a checkpoint, an adapter where its base is; only the part below
    `work` stays."""
    for file in folder.glob("adapter_config.json"):
        file.write_text(file.read_text().replace(f"{work}/", ""))
    for file in folder.glob("checkpoints/*/commit_success.txt"):
        file.write_text(file.read_text().replace(f"{work}/", ""))
        listed = file.with_name("files.json")
        sizes = json.loads(listed.read_text())
        sizes[file.name] = [file.stat().st_size, zlib.crc32(file.read_bytes())]
        listed.write_text(json.dumps(sizes, indent=2) + "\n")


def make(work: Path, tree: Path) -> None:
    """Everything, in `work`, with the code in `tree`."""
    environment = Side("old", tree, work, work, work).environment()

    def run(*words: str, program: tuple[str, ...] = ("-m", "electra_jax"), code: int = 0) -> None:
        done = subprocess.run(
            [sys.executable, "-P", *program, *words],
            cwd=work, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr

    (work / "tasks").mkdir()
    write_inputs(work / "tasks")
    run("vocab", "--input", "tasks/text.txt", "--size=80", "--output=tokenizer")
    words = ("--seq_len=16", "--workers=1", "--eval_fraction=0.1")
    run("prepare", "--input", "tasks/text.txt", "--tokenizer=tokenizer", "--output=rows", *words)
    commands = {"pretrain": ["pretrain", "--workdir=run", *PRETRAIN]}
    commands["finetune"] = ["finetune", "--workdir=tuning", *finetune("ner", "ner")]
    recorded = {}
    for name, command in commands.items():
        folder = command[1].split("=")[1]
        whole = "pair" if name == "pretrain" else "whole"
        run(command[0], f"--workdir={whole}", *command[2:])
        run(*command, program=("-c", _STOPPING), code=143)
        rows = (work / whole / "metrics.jsonl").read_text().splitlines()
        found = [json.loads(row) for row in rows]
        times = ("seconds", "tokens_per_second")
        recorded[name] = [
            {k: v for k, v in row.items() if k not in times}
            for row in found
            if row["step"] > STOPPED
        ]
        (work / folder / ".lock").unlink()
        without_paths(work / folder, str(work))
    (work / "expected.json").write_text(
        json.dumps({"commands": commands, "rows": recorded}, indent=1) + "\n"
    )
    (work / "models").mkdir()
    rows_of_table = {name: (name, data) for name, data in TASKS.items()}
    for name, (task, data, *words) in (rows_of_table | VARIANTS).items():
        run("finetune", f"--workdir=of-{name}", *finetune(task, data, *words))
        shutil.move(work / f"of-{name}" / "model", work / "models" / name)
        without_paths(work / "models" / name, str(work))
        lines = (work / "tasks" / data / "dev.jsonl").read_text().splitlines()[:EXAMPLES]
        examples = work / "models" / f"{name}.examples.jsonl"
        examples.write_text("\n".join(lines) + "\n")
        answers = f"--output=models/{name}.answers.jsonl"
        run("predict", f"--model=models/{name}", f"--input=models/{examples.name}", answers)
    for data in set(RECORDS) - {"ner"}:
        shutil.rmtree(work / "tasks" / data)
    kept = ("rows", "run", "tuning", "models", "tasks/ner", "pair/model", "expected.json")
    for name in kept:
        target = HERE / name
        if target.is_dir():
            shutil.rmtree(target)
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if (work / name).is_dir() else shutil.copy2)(work / name, target)


if __name__ == "__main__":
    with checkout(COMMIT) as tree, tempfile.TemporaryDirectory() as folder:
        make(Path(folder).resolve(), tree)
