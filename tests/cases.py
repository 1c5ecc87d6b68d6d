"""Runs a folder of cases that users met, and prints a verdict on each.

    python tests/cases.py FOLDER [NAME …]        # or ELECTRA_JAX_CASES=FOLDER; NAME: its beginning

A case is a folder with input files, `cmd.txt` (a shell command on each line, run in a copy of the
folder) and `expected.txt` (what is right, for people). In that copy stand `configs`, `START` (a
small encoder with a vocabulary of the case's own text), `M` and `NER_MODEL` (a classifier and a
tagger, fine-tuned for a step), `T` (a tokenizer) and `corpus.gz`. What is right of each case is a
function below; one that has none is run, and its last lines are shown. Exit code: 0 where no
verdict is WRONG.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gzip
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

TEXTS = {".txt", ".jsonl", ".csv", ".tsv", ".conll"}


@dataclasses.dataclass
class Ran:
    """A case's commands, as they ended, and where."""

    folder: Path
    done: list[subprocess.CompletedProcess[str]]

    @property
    def codes(self) -> list[int]:
        return [p.returncode for p in self.done]

    def lines(self, number: int) -> list[Any]:
        """The JSON lines that a command wrote to standard output."""
        return [json.loads(x) for x in self.done[number].stdout.splitlines() if x[:1] == "{"]

    def labels(self, workdir: str) -> list[str]:
        """The labels of a fine-tuned model."""
        config = (self.folder / workdir / "model" / "config.json").read_text(encoding="utf-8")
        return json.loads(config)["task_settings"]["labels"]

    def scores(self, workdir: str) -> dict[str, float]:
        """The scores of a fine-tuning run."""
        return json.loads((self.folder / workdir / "result.json").read_text())["scores"]


# What is right, by the beginning of a case's name: each gives what is wrong, or nothing.


def words_without_pieces(ran: Ran) -> Iterator[str]:
    """A word without a token is no entity, and changes no other word's tag."""
    with_spaces, without = ran.scores("W1")["f1"], ran.scores("W2")["f1"]
    if abs(with_spaces - without) > 10:
        yield f"F1 {with_spaces:.1f} with words that are spaces, {without:.1f} without them"
    entities = [e["text"] for line in ran.lines(2) for e in line["entities"]]
    if not all(any(map(str.isalnum, text)) for text in entities):
        yield f"entities {entities}"


def indicator_vectors(ran: Ran) -> Iterator[str]:
    """Vectors of 0 and 1 are three labels."""
    if ran.labels("W") != ["0", "1", "2"]:
        yield f"labels {ran.labels('W')}"


def lists_as_text(ran: Ran) -> Iterator[str]:
    """A list in a cell is a list."""
    if (found := ran.labels("W")) != ["food", "price", "room"]:
        yield f"labels {found}"
    if (found := ran.labels("W2")) != ["NOUN", "VERB"]:
        yield f"tags {found}"
    from electra_jax.errors import UserError
    from electra_jax.finetuning.data.readers import read_examples
    from electra_jax.finetuning.task_table import TASKS

    for file in sorted((ran.folder / "multilabel").glob("*.csv")):
        with contextlib.suppress(UserError):
            labels = {n for e in read_examples(TASKS["multilabel"], file) for n in e.label}
            if not labels <= {"food", "price", "room"}:
                yield f"{file.name} has the labels {sorted(labels)}"


def comment_lines(ran: Ran) -> Iterator[str]:
    """Comments are no words."""
    for workdir in ("W1", "W2"):
        if any("=" in label for label in ran.labels(workdir)):
            yield f"{workdir} has the labels {ran.labels(workdir)}"


def cased_vocabulary(ran: Ran) -> Iterator[str]:
    """A vocabulary with capitals keeps case."""
    settings = ran.done[-1].stdout
    if "true" in settings.lower() or not settings:
        yield f"stored: {settings.strip()!r}"


def added_tokens(ran: Ran) -> Iterator[str]:
    """No trained row is cut."""
    for folder, size in (("out", 1024), ("out2", 1032)):
        found = json.loads((ran.folder / folder / "config.json").read_text())["vocab_size"]
        if found != size:
            yield f"{folder} has {found} tokens, not {size}"


def nothing_more(ran: Ran) -> Iterator[str]:
    """The commands end well."""
    yield from ()


def running_text(ran: Ran) -> Iterator[str]:
    """Text is refused where words are read, or all of it is read."""
    for number, words in ((0, 6), (1, 2)):
        read = sum(len(line["words"]) for line in ran.lines(number))
        if ran.codes[number] == 0 and read != words:
            yield f"{read} of {words} words are read"


def missing_labels(ran: Ran) -> Iterator[str]:
    """-1 is no class, and is said."""
    if ran.labels("W") != ["0", "1", "2"]:
        yield f"labels {ran.labels('W')}"
    if '"-1"' not in ran.done[0].stderr:
        yield "nothing is said of -1"


def standard_input(ran: Ran) -> Iterator[str]:
    """Each answers, and rows are written."""
    for number in (0, 1):
        if len(ran.lines(number)) != 1:
            yield f"{len(ran.lines(number))} answers"
    if not (ran.folder / "R" / "rows.json").is_file():
        yield "no rows"


# (what is wrong, exit codes that are right: None for all 0)
CHECKS: dict[str, tuple[Callable[[Ran], Iterator[str]], set[int]]] = {
    "01-": (words_without_pieces, {0}),
    "02-": (indicator_vectors, {0, 141}),  # 141: `head` has read enough
    "03-": (lists_as_text, {0}),
    "04-": (comment_lines, {0}),
    "05-": (cased_vocabulary, {0}),
    "06-": (added_tokens, {0}),
    "07-": (nothing_more, {0}),
    "08-": (running_text, {0, 2}),
    "09-": (missing_labels, {0}),
    "10-": (nothing_more, {0}),
    "11-": (standard_input, {0}),
}


def verdict(case: Path, ran: Ran) -> tuple[str, list[str]]:
    """("right", "WRONG" or "to be judged", why) of a case that was run."""
    crashed = [p for p in ran.done if "Traceback" in p.stderr]
    if crashed:
        return "WRONG", [f"traceback: {crashed[0].stderr.splitlines()[-1]}"]
    check, codes = next((c for n, c in CHECKS.items() if case.name.startswith(n)), (None, {0}))
    if check is None:
        return "to be judged", [_end_of(p) for p in ran.done]
    failed = [p for p in ran.done if p.returncode not in codes]
    if failed:
        return "WRONG", [_end_of(p) for p in failed]
    try:
        wrong = list(check(ran))
    except (OSError, LookupError, ValueError) as error:
        wrong = [f"no result: {type(error).__name__}: {error}"]
    return ("WRONG", wrong) if wrong else ("right", [])


def _end_of(p: subprocess.CompletedProcess[str]) -> str:
    last = (p.stderr.strip() or p.stdout.strip()).splitlines()[-1:] or ["nothing"]
    return f"exit {p.returncode}: {last[0][:300]}"


def run_case(case: Path, scratch: Path) -> Ran:
    """A case's commands, run one after the other in a copy of it."""
    folder = scratch / case.name
    shutil.copytree(case, folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    commands = [
        line
        for line in (folder / "cmd.txt").read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    (folder / "configs").symlink_to(ROOT / "configs")
    prepare(folder, " ".join(commands))
    binaries = folder / "bin"
    binaries.mkdir(exist_ok=True)
    program = binaries / "electra-jax"
    code = "import sys; from electra_jax.cli.main import main; sys.exit(main())"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{code}" "$@"\n')
    program.chmod(0o755)
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths}
    done = [
        subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder, env=env, capture_output=True, text=True, errors="replace",
        )
        for command in commands
    ]  # fmt: skip
    return Ran(folder, done)


def prepare(folder: Path, commands: str) -> None:
    """Makes what the commands of a case name beside its own files."""
    words = {w.rpartition("=")[2].strip("|") for w in commands.split()}
    if words & {"START", "M", "NER_MODEL", "T"}:
        make_start(folder)
    if "M" in words:
        rows = [{"text": f"a {w}", "label": w} for w in ("river", "stone") * 8]
        tune(folder, "classification", rows, "M")
    if "NER_MODEL" in words:
        rows = [{"tokens": ["Ann", "saw", "Rome"], "tags": ["B-PER", "O", "B-LOC"]}] * 16
        tune(folder, "ner", rows, "NER_MODEL")
    if "corpus.gz" in words:
        draw = random.Random(1)
        text = "\n\n".join(
            " ".join(draw.choices("a river of stone".split(), k=50)) for _ in "12345678"
        )
        (folder / "corpus.gz").write_bytes(gzip.compress(text.encode()))


def make_start(folder: Path) -> None:
    """START, an encoder of random weights, and its tokenizer."""
    import jax
    import numpy as np

    from electra_jax.config.model import ElectraConfig
    from electra_jax.interop.save import save_model_folder
    from electra_jax.modeling.electra import Inputs, padding_mask
    from electra_jax.modeling.heads.huggingface import Encoder
    from electra_jax.text.tokenizers.tokenizer import tokenizer_from_vocab
    from electra_jax.text.tokenizers.wordpiece import Options

    files = [f for f in sorted(folder.rglob("*")) if f.suffix in TEXTS and f.name != "expected.txt"]
    text = "Ann saw Rome and a river of stone\n"
    text += "\n".join(f.read_text(encoding="utf-8", errors="replace") for f in files)
    signs = sorted({c for c in text.lower() if not c.isspace()})
    words = [w for w, _ in Counter(re.findall(r"[a-z]{2,}", text.lower())).most_common(300)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = [*special, *signs, *(f"##{c}" for c in signs), *words]
    tokenizer = folder / "T"
    tokenizer_from_vocab(vocabulary, Options(True, None, True)).save(tokenizer)
    config = ElectraConfig(
        vocab_size=len(vocabulary), embedding_size=32, hidden_size=64, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=128, max_position_embeddings=64,
    )  # fmt: skip
    ids = np.zeros((1, 2), np.int32)
    inputs = Inputs(ids, padding_mask(ids + 1))
    params = jax.jit(Encoder(config).init)(jax.random.key(0), inputs)["params"]
    save_model_folder(folder / "START", "encoder", config, params, tokenizer)


def tune(folder: Path, task: str, rows: list[dict[str, Any]], name: str) -> None:
    """A model of a task after one step, under `name`."""
    data = folder / f"{name}.data"
    data.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for split in ("train", "dev"):
        (data / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    import electra_jax

    with contextlib.redirect_stdout(sys.stderr):
        settings = {
            "init": str(folder / "START"), "data.path": str(data), "data.max_length": 32,
            "train.steps": 1, "train.restarts": 0, "train.tensorboard": False,
        }  # fmt: skip
        config = electra_jax.get_config(f"finetune:{task}", settings)
        electra_jax.finetune(config, workdir=str(folder / f"{name}.run"), quiet=True)
    (folder / name).symlink_to(f"{name}.run/model")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", nargs="?", default=os.environ.get("ELECTRA_JAX_CASES"), metavar="FOLDER",
        help="default: ELECTRA_JAX_CASES",
    )  # fmt: skip
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="those that begin so; default: all"
    )
    parser.add_argument(
        "--keep", metavar="DIR", help="leave what the cases wrote in this new folder"
    )
    a = parser.parse_args()
    if a.folder is None or not Path(a.folder).is_dir():
        parser.error("name the folder of cases, or set ELECTRA_JAX_CASES")
    cases = [
        case
        for case in sorted(Path(a.folder).iterdir())
        if (case / "cmd.txt").is_file() and (not a.names or case.name.startswith(tuple(a.names)))
    ]
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="cases-") as temporary:
        scratch = Path(a.keep or temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        for case in cases:
            word, why = verdict(case, run_case(case, scratch))
            wrong += word == "WRONG"
            print(f"{case.name}: {word}" + "".join(f"\n    {line}" for line in why), flush=True)
    print(f"{len(cases)} cases, {wrong} wrong")
    return 1 if wrong or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
