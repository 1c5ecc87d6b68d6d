"""Makes the committed tables from the folder of recorded oracles.

    python tests/recorded/make.py --oracles=DIR

Each function below is one table: it says which numbers it takes and what it leaves out. A table
never has a text that somebody published: sentences of novels become made-up words, one word piece
for one, so that the recorded ids stay.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

from recorded.tables import FOLDER, Files, write_table  # noqa: E402

from electra_jax.text.tokenizers.tokenizer import load_tokenizer  # noqa: E402

PRETRAINING = ("default", "untied_gen_emb", "mlm_baseline", "tied_generator", "uniform_generator")
FINE_TUNING = (
    "classification",
    "regression",
    "tagging",
    "multitask",
    "qa_independent_cls_answerable",
    "qa_independent_no_answerable",
)
UNKNOWN = "\u16a0"  # a rune, which is no token
SMALL = 300  # numbers: a gradient or a parameter above this is left out


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _arrays(oracles: Path, name: str, keep: Callable[[str, np.ndarray], bool] | None = None):
    """Arrays of an .npz file, in order."""
    with np.load(oracles / name) as arrays:
        return {
            f"{name}/{key}.npy": _npy(arrays[key])
            for key in arrays.files
            if keep is None or keep(key, arrays[key])
        }


def _jsons(oracles: Path, *names: str) -> Files:
    return {name: _json(_read(oracles / name)) for name in names}


def _bytes(oracles: Path, folder: str) -> Files:
    """A folder's files as they are."""
    return {
        f"{folder}/{file.name}": file.read_bytes() for file in sorted((oracles / folder).iterdir())
    }


def _smallest(oracles: Path, name: str, prefix: str, least: int) -> set[str]:
    """Names of the arrays up to SMALL numbers, and of larger ones until there are `least`."""
    with np.load(oracles / name) as arrays:
        sizes = {key: arrays[key].size for key in arrays.files if key.startswith(prefix)}
    order = sorted(sizes, key=sizes.__getitem__)
    return {key for i, key in enumerate(order) if i < least or sizes[key] <= SMALL}


# Pretraining and fine-tuning graphs


# Arrays of a forward pass that no test compares: they follow from the others or repeat the inputs.
UNUSED = ("masked_lm_ids", "replace_uniform", "gen_embedding_output", "disc_probs", "disc_preds")


def pretrain(oracles: Path) -> Files:
    """Variants of the pretraining graph: checkpoint, inputs, draws, hidden states, logits, losses,
    metrics, the smaller gradients, and three resumed steps of `default` with the smaller
    parameters after them. Left out: the variants where widths are equal, and Electric.
    """
    files: Files = {}
    for case in PRETRAINING:
        folder = f"pretrain/{case}"
        for checkpoint in sorted(oracles.glob(f"{folder}/ckpt*"), reverse=True):
            files |= _bytes(oracles, f"{folder}/{checkpoint.name}")
        files |= _jsons(oracles, f"{folder}/config.json", f"{folder}/losses.json")
        files |= _arrays(
            oracles,
            f"{folder}/forward.npz",
            lambda key, _: not key.endswith((*UNUSED, "all_layers")),
        )
        gradients = _smallest(oracles, f"{folder}/grads_b0.npz", "", least=15)
        files |= _arrays(
            oracles, f"{folder}/grads_b0.npz", lambda key, _, kept=gradients: key in kept
        )
    files |= _jsons(oracles, "pretrain/default/resume_steps.json")
    after = "pretrain/default/resume_after_3_steps.npz"
    moved = _smallest(oracles, after, "", least=15)
    files |= _arrays(oracles, after, lambda key, _: key in moved or "adam_" in key)
    return files


def finetune(oracles: Path) -> Files:
    """Task heads on tiny encoders: checkpoint, two batches, hidden states of the first, outputs,
    losses, the smaller gradients, and four steps of classification with layer-wise decay.
    """
    files: Files = {}
    for case in FINE_TUNING:
        folder = f"finetune/{case}"
        files |= _bytes(oracles, f"{folder}/ckpt")
        files |= _jsons(oracles, f"{folder}/config.json")
        outputs = f"{folder}/outputs.npz"
        gradients = _smallest(oracles, outputs, "b0/grad/", least=6)
        files |= _arrays(
            oracles,
            outputs,
            lambda key, _, kept=gradients: (
                key in kept if "/grad/" in key else key != "b1/train/sequence_output"
            ),
        )
        after = f"{folder}/after_4_steps.npz"
        if (oracles / after).exists():
            files |= _arrays(oracles, after)
    return files


# Steps, draws, tables of numbers


def optimizer(oracles: Path) -> Files:
    """Trajectories of the optimizer, whole: gradients, parameters and moments of every step."""
    files: Files = {}
    for tag in ("pretraining_12_steps", "power_and_past_the_end", "layerwise_decay"):
        files |= _jsons(oracles, f"optimizer/{tag}.json")
        files |= _arrays(oracles, f"optimizer/{tag}.npz")
    return files | _arrays(oracles, "optimizer/sparse_embedding_clip.npz")


def masking(oracles: Path) -> Files:
    """Recorded draws of masks and samples with their results, and statistics of masks, whole."""
    files = _jsons(
        oracles,
        "masking/fixed_draws.json",
        "masking/mask_statistics.json",
        "masking/slots_table.json",
    )
    for name in ("mask_and_scatter_fixed_draws", "mask_statistics", "sampler_fixed_noise"):
        files |= _arrays(oracles, f"masking/{name}.npz")
    return files


def tables(oracles: Path) -> Files:
    """Learning rates, FLOPs, sizes and names of variables, initial distributions; and scorers."""
    names = (
        "flops",
        "initialisation_statistics",
        "learning_rates",
        "model_sizes_and_variables",
    )
    return _jsons(oracles, *(f"tables/{name}.json" for name in names), "metrics/scorers.json")


# Text


@cache
def _tokenizer(oracles: Path):
    return load_tokenizer(oracles / "tokenization/vocab_uncased.txt")


def _letters(number: int) -> str:
    """A word of six letters for an id; no two begin alike, and no token begins with "qx"."""
    letters = ""
    for _ in range(4):
        number, letter = divmod(number, 26)
        letters = chr(ord("a") + letter) + letters
    return "qx" + letters


@cache
def _vocabulary(oracles: Path) -> tuple[str, ...]:
    """The uncased vocabulary with single characters and the tokens that the tables' own texts
    need; every other token is a made-up one, which continues a word where the original does.
    """
    tokenizer = _tokenizer(oracles)
    needed = set(vars(tokenizer.special_ids).values())
    for combination in _strings(oracles)["combinations"]:
        if combination["vocab"] == "vocab_uncased.txt":
            needed |= {i for result in combination.get("results", ()) for i in result["ids"]}
    for text in _own_texts(oracles):
        needed |= set(tokenizer.encode(text))
    lines = (oracles / "tokenization/vocab_uncased.txt").read_text("utf-8").splitlines()
    return tuple(
        token
        if i in needed or len(token.removeprefix("##")) == 1
        else ("##" if token.startswith("##") else "") + _letters(i)
        for i, token in enumerate(lines)
    )


def _own_texts(oracles: Path) -> Iterable[str]:
    """Texts that were written for the recording: questions, and words with tags."""
    for name in ("data_v1.json", "data_v2.json", "data_mrqa.jsonl", "final_text.json"):
        yield from _texts_in(_lines(oracles / "qa_decoding" / name))
    edge_cases = _read(oracles / "qa_decoding/training_features_edge_cases.json")
    yield from _texts_in(edge_cases["dataset"])
    for name, case in _read(oracles / "finetune_features/features.json").items():
        if name.startswith("tagging"):
            yield from _texts_in([row["words"] for row in case["rows"]])


def _lines(path: Path) -> Any:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return _read(path)


def _texts_in(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(part)


def _made_up(oracles: Path, text: str) -> str:
    """The text with every word's pieces replaced by those of the committed vocabulary."""
    vocabulary, tokenizer = _vocabulary(oracles), _tokenizer(oracles)
    pieces = {tokenizer.special_ids.unk: UNKNOWN}
    return " ".join(
        "".join(pieces.get(i) or vocabulary[i].removeprefix("##") for i in tokenizer.encode(word))
        for word in text.split()
    )


def _strings(oracles: Path) -> dict[str, Any]:
    """The recorded strings that are no sentences of books (kinds edge and fuzz)."""
    recorded = _read(oracles / "tokenization/tokenization.json")
    kept = [i for i, string in enumerate(recorded["strings"]) if string["kind"] != "natural"]
    combinations = [
        {k: [v[i] for i in kept] if k == "results" else v for k, v in combination.items()}
        for combination in recorded["combinations"]
    ]
    return {"strings": [recorded["strings"][i] for i in kept], "combinations": combinations}


def tokenization(oracles: Path) -> Files:
    """Awkward and random strings with their tokens and ids; the small vocabulary, and the public
    one with made-up words in the place of tokens that no committed text needs.
    """
    files = {"tokenization/tokenization.json": _json(_strings(oracles))}
    small = oracles / "tokenization/vocab_cased_small.txt"
    files["tokenization/vocab_cased_small.txt"] = small.read_bytes()
    text = "".join(f"{token}\n" for token in _vocabulary(oracles))
    files["tokenization/vocab_uncased.txt"] = text.encode()
    return files


def example_building(oracles: Path) -> Files:
    """Rows made from recorded draws; record files of the reference; statistics over 100 seeds.

    Only the number of tokens of a line matters to the statistics: their corpus is "a a a …".
    """
    streams = _read(oracles / "example_building/concrete_examples.json")
    for stream in streams["streams"]:
        for line in stream["lines"]:
            line["text"] = "x" if line["text"].strip() else ""
    files = {"example_building/concrete_examples.json": _json(streams)}
    records = "example_building/tfrecords"
    files |= _jsons(oracles, f"{records}/draws.json")
    files |= _arrays(oracles, f"{records}/contents.npz")
    files |= {
        name: content for name, content in _bytes(oracles, records).items() if "tfrecord-" in name
    }
    lines = (oracles / records / "input_lines.txt").read_text("utf-8").split("\n")
    made_up = "\n".join(_made_up(oracles, line) for line in lines)
    files[f"{records}/input_lines.txt"] = made_up.encode()
    corpus = (oracles / "example_building/corpus.txt").read_text("utf-8").split("\n")
    counts = [len(ids) for ids in _tokenizer(oracles).encode_batch([x.strip() for x in corpus])]
    # A line without a token is no blank line: it does not end its document.
    words = [
        " ".join("a" * count) if count or not line.strip() else "\u0301"
        for line, count in zip(corpus, counts)
    ]
    files["example_building/corpus.txt"] = "\n".join(words).encode()
    return files | _arrays(oracles, "example_building/statistics.npz")


def finetune_features(oracles: Path) -> Files:
    """Features of pairs, targets and tagged words; the pairs' sentences are made-up words."""
    features = _read(oracles / "finetune_features/features.json")
    for name, rows in features.items():
        if name.startswith("classification"):
            for row in rows:
                for side in ("text_a", "text_b"):
                    row[side] = row[side] and _made_up(oracles, row[side])
    return {"finetune_features/features.json": _json(features)}


def qa_decoding(oracles: Path) -> Files:
    """Windows, model outputs, answers and scores of questions that were written for it, whole."""
    files: Files = {}
    for file in sorted((oracles / "qa_decoding").iterdir()):
        name = f"qa_decoding/{file.name}"
        if file.suffix == ".npz":
            files |= _arrays(oracles, name)
        elif file.name.startswith("data_"):
            files[name] = file.read_bytes()
        else:
            value = _read(file)
            if isinstance(value, dict):  # the questions are in the data files
                value = {k: v for k, v in value.items() if k != "examples" or "dataset" in value}
            files[name] = _json(value)
    return files


TABLES: tuple[Callable[[Path], Files], ...] = (
    pretrain,
    finetune,
    optimizer,
    masking,
    tables,
    tokenization,
    example_building,
    finetune_features,
    qa_decoding,
)


def main() -> None:
    """Writes every table and prints its size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--oracles", type=Path, required=True, help="folder of the recorded oracles"
    )
    oracles = parser.parse_args().oracles
    total = 0
    for table in TABLES:
        path = FOLDER / f"{table.__name__}.tar.xz"
        write_table(path, table(oracles))
        total += path.stat().st_size
        print(f"{path.name:32} {path.stat().st_size:9,} bytes")
    print(f"{'in all':32} {total:9,} bytes")


if __name__ == "__main__":
    main()
