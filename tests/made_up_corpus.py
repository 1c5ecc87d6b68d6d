"""Corpora of made-up words, and the rows folders that are prepared from them."""

import json

import numpy as np

from electra_jax.preparation.prepare import prepare

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(500)), "."]


def write_corpus(file, documents=60, seed=0):
    """Documents of random words; document d begins with the word w<d>."""
    draw = np.random.default_rng(seed)
    with open(file, "w", encoding="utf-8") as stream:
        for d in range(documents):
            lines = [
                [f"w{i}" for i in draw.integers(0, 500, 9)] for _ in range(draw.integers(1, 9))
            ]
            lines[0][0] = f"w{d}"
            text = "\n".join(" ".join(line) + " ." for line in lines)
            stream.write(json.dumps({"text": text}) + "\n")
    return str(file)


def make(source, vocabulary, output, **options):
    options = {"seq_len": 32, "workers": 1, "eval_fraction": 0.2, "progress": False, **options}
    return prepare([str(source)], vocabulary, output, **options)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
