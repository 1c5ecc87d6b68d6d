"""What every scenario starts from: text, task files, and (made by the base's command line) rows,
tokenizers and a pair of networks. Both sides read the same files.

Nothing here imports the package: the same files whatever becomes of it.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

GOOD = "bright warm kind lovely clever".split()
BAD = "dull cold cruel awful stupid".split()
OTHER = (
    "the a film day house story man river walk with of and in was one stone garden light winter "
    "quiet old new sees keeps finds bridge letter morning bird tree cloud teacher sailor"
).split()
TRAIN, DEV = 24, 10  # examples of a task
Record = dict[str, Any]


def write_text(path: Path, seed: int = 7, documents: int = 40) -> None:
    """Documents of a few sentences, blank lines between them."""
    draw = random.Random(seed)
    texts = []
    for _ in range(documents):
        sentences = (
            " ".join(draw.choices(GOOD + BAD + OTHER, k=draw.randint(4, 12))).capitalize() + "."
            for _ in range(draw.randint(3, 8))
        )
        texts.append("\n".join(sentences))
    path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def _sentence(draw: random.Random, *words: str) -> list[str]:
    found = draw.choices(OTHER, k=draw.randint(3, 12))
    for word in words:
        found.insert(draw.randint(0, len(found)), word)
    return found


def _either(draw: random.Random) -> tuple[str, str]:
    """(label, a word that tells it)."""
    label = draw.choice(("good", "bad"))
    return label, draw.choice(GOOD if label == "good" else BAD)


def _classification(draw: random.Random, number: int) -> Record:
    label, word = _either(draw)
    return {"text": " ".join(_sentence(draw, word)), "label": label}


def _pair(draw: random.Random, number: int) -> Record:
    (first, a), (second, b) = _either(draw), _either(draw)
    texts = (" ".join(_sentence(draw, word)[:7]) for word in (a, b))
    label = "same" if first == second else "other"
    return {**dict(zip(("sentence1", "sentence2"), texts, strict=True)), "label": label}


def _multilabel(draw: random.Random, number: int) -> Record:
    labels = [name for name in ("good", "bad") if draw.random() < 0.6]
    words = [draw.choice(GOOD if name == "good" else BAD) for name in labels]
    return {"text": " ".join(_sentence(draw, *words)), "labels": labels}


def _regression(draw: random.Random, number: int) -> Record:
    good, bad = draw.randint(0, 2), draw.randint(0, 2)
    words = draw.choices(GOOD, k=good) + draw.choices(BAD, k=bad)
    return {"text": " ".join(_sentence(draw, *words)), "score": float(good - bad)}


def _relation(draw: random.Random, number: int) -> Record:
    label, word = _either(draw)
    words = [*_sentence(draw, f"<e1>{word}</e1>"), "<e2>film</e2>"]
    return {"text": " ".join(words), "label": label}


def _tagging(draw: random.Random, number: int) -> Record:
    words = _sentence(draw, draw.choice(GOOD), draw.choice(BAD))
    tags = ["X" if w in GOOD else "Y" if w in BAD else "O" for w in words]
    return {"tokens": words, "tags": tags}


def _ner(draw: random.Random, number: int) -> Record:
    words = draw.choices(OTHER, k=draw.randint(2, 8))
    tags = ["O"] * len(words)
    for name, pool in (("G", GOOD), ("B", BAD)):
        place, length = draw.randint(0, len(words)), draw.randint(1, 2)
        while place < len(words) and tags[place].startswith("I-"):
            place += 1
        words[place:place] = draw.choices(pool, k=length)
        tags[place:place] = [f"B-{name}", f"I-{name}"][:length]
    return {"tokens": words, "tags": tags}


def _question(draw: random.Random, number: int, answerable: bool = True) -> Record:
    answer = draw.choice(GOOD)
    context = " ".join(_sentence(draw, *([answer] if answerable else [])))
    texts = [answer] if answerable else []
    starts = [context.index(answer)] if answerable else []
    return {
        "id": str(number),
        "question": "the lovely man",
        "context": context,
        "answers": {"text": texts, "answer_start": starts},
    }


def _question_or_none(draw: random.Random, number: int) -> Record:
    return _question(draw, number, answerable=number % 3 > 0)


def _choice(draw: random.Random, number: int) -> Record:
    right = draw.randint(0, 2)
    choices = [" ".join(_sentence(draw, draw.choice(BAD))[:5]) for _ in range(3)]
    choices[right] = f"{draw.choice(GOOD)} film"
    return {"question": "the film was", "choices": choices, "label": right}


def _ranking(draw: random.Random, number: int) -> Record:
    row = _choice(draw, number)
    context = ["the film", "was"]
    return {"context": context, "candidates": row["choices"], "label": row["label"]}


RECORDS: dict[str, Callable[[random.Random, int], Record]] = {
    "classification": _classification,
    "pair": _pair,
    "multilabel": _multilabel,
    "regression": _regression,
    "relation": _relation,
    "tagging": _tagging,
    "ner": _ner,
    "squad1": _question,
    "squad2": _question_or_none,
    "choice": _choice,
    "ranking": _ranking,
}


def write_inputs(folder: Path) -> None:
    """text.txt, other.txt and TASK/train.jsonl, TASK/dev.jsonl of every task."""
    write_text(folder / "text.txt")
    write_text(folder / "other.txt", seed=8, documents=30)
    for task, make in RECORDS.items():
        (folder / task).mkdir(exist_ok=True)
        for split, seed, count in (("train", 1, TRAIN), ("dev", 2, DEV)):
            draw = random.Random(f"{task} {seed}")
            lines = (json.dumps(make(draw, number)) + "\n" for number in range(count))
            (folder / task / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
