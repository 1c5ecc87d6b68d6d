"""A model and tasks small enough to fine-tune in a test: a random encoder over a few words, and
labels that follow from the words."""

import json
import random

import jax
import numpy as np

from electra_jax.config.model import ElectraConfig
from electra_jax.config_file import load_config
from electra_jax.interop.save import save_model_folder
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.modeling.heads.huggingface import Encoder
from electra_jax.text.tokenizers.train import train_vocabulary

GOOD = "bright warm kind lovely clever".split()
BAD = "dull cold cruel awful stupid".split()
OTHER = "the a film day house story man river walk with of and in was".split()
CONFIG = ElectraConfig(
    vocab_size=90,
    embedding_size=16,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
)

# Small, quick, and learning enough to tell. Dropout is off but where a test is about it: it costs
# most of the compilation.
OVERRIDES = (
    "--config.model.hidden_dropout_prob=0.0",
    "--config.model.attention_probs_dropout_prob=0.0",
    "--config.model.classifier_dropout=0.0",
    "--config.train.restarts=0",
    "--config.train.steps=40",
    "--config.train.batch_size=16",
    "--config.train.eval_batch_size=16",
    "--config.train.eval_every=20",
    "--config.train.log_every=10",
    "--config.train.tensorboard=False",
    "--config.optimizer.learning_rate=0.003",
    "--config.optimizer.layerwise_decay=1.0",
    "--config.data.backend=numpy",
    "--config.data.max_length=32",
    "--config.data.shapes=1",
)


def save_encoder(folder, tokenizer_folder, seed=0):
    """A random encoder as a model folder."""
    ids = np.zeros((1, 2), np.int32)
    inputs = Inputs(ids, padding_mask(ids + 1))
    params = jax.jit(Encoder(CONFIG).init)(jax.random.key(seed), inputs)["params"]
    save_model_folder(folder, "encoder", CONFIG, params, tokenizer_folder)
    return folder


def make_model(folder):
    """A model folder with a tokenizer over the words above."""
    draw = random.Random(3)
    lines = [" ".join(draw.choices(GOOD + BAD + OTHER, k=12)) for _ in range(300)]
    (folder / "text.txt").write_text("\n\n".join(lines), encoding="utf-8")
    text = [str(folder / "text.txt")]
    train_vocabulary(text, "wordpiece", CONFIG.vocab_size, folder / "tokenizer", progress=False)
    return save_encoder(folder / "model", folder / "tokenizer")


def write_jsonl(path, rows):
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sentence(draw, words):
    """Some filler with `words` in it."""
    filler = draw.choices(OTHER, k=draw.randint(3, 9))
    for word in words:
        filler.insert(draw.randint(0, len(filler)), word)
    return filler


def classification(draw, count):
    """Good or bad by one word."""
    rows = []
    for _ in range(count):
        good = draw.random() < 0.5
        words = sentence(draw, [draw.choice(GOOD if good else BAD)])
        rows.append({"text": " ".join(words), "label": "good" if good else "bad"})
    return rows


def multilabel(draw, count):
    """Whether there is a good word, and whether there is a bad one."""
    rows = []
    for _ in range(count):
        labels = [name for name in ("good", "bad") if draw.random() < 0.5]
        words = [draw.choice(GOOD if name == "good" else BAD) for name in labels]
        rows.append({"text": " ".join(sentence(draw, words)), "labels": labels})
    return rows


def regression(draw, count):
    """How many good words less bad ones."""
    rows = []
    for _ in range(count):
        good, bad = draw.randint(0, 2), draw.randint(0, 2)
        words = sentence(draw, draw.choices(GOOD, k=good) + draw.choices(BAD, k=bad))
        rows.append({"text": " ".join(words), "score": float(good - bad)})
    return rows


def tagging(draw, count):
    """Good and bad words are entities."""
    rows = []
    for _ in range(count):
        words = sentence(draw, [draw.choice(GOOD), draw.choice(BAD)])
        tags = ["B-G" if w in GOOD else "B-B" if w in BAD else "O" for w in words]
        rows.append({"tokens": words, "tags": tags})
    return rows


def multiple_choice(draw, count):
    """The choice with a good word."""
    rows = []
    for _ in range(count):
        right = draw.randint(0, 2)
        choices = [" ".join(sentence(draw, [draw.choice(BAD)])[:6]) for _ in range(3)]
        choices[right] = draw.choice(GOOD) + " film"
        rows.append({"question": "the film was", "choices": choices, "label": right})
    return rows


def relation(draw, count):
    """Good or bad by the first marked word."""
    rows = []
    for _ in range(count):
        good = draw.random() < 0.5
        words = sentence(draw, [f"<e1>{draw.choice(GOOD if good else BAD)}</e1>"])
        rows.append(
            {"text": " ".join([*words, "<e2>film</e2>"]), "label": "good" if good else "bad"}
        )
    return rows


def ranking(draw, count):
    """The answer with a good word, of two turns."""
    return [
        {"context": ["the film", "was"], "candidates": row["choices"], "label": row["label"]}
        for row in multiple_choice(draw, count)
    ]


def question_answering(draw, count):
    """Which good word occurs."""
    rows = []
    for number in range(count):
        answer = draw.choice(GOOD)
        context = " ".join(sentence(draw, [answer]))
        rows.append(
            {
                "id": str(number),
                "question": "the lovely man",
                "context": context,
                "answers": {"text": [answer], "answer_start": [context.index(answer)]},
            }
        )
    return rows


def write_task(folder, make, train=160, dev=48, seed=0):
    """A folder with train.jsonl and dev.jsonl of a task."""
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "train.jsonl", make(random.Random(seed), train))
    write_jsonl(folder / "dev.jsonl", make(random.Random(seed + 1), dev))
    return folder


def configuration(task, model, data, *overrides):
    """A resolved configuration."""
    arguments = [
        f"--config=configs/finetune.py:{task}",
        f"--config.init={model}",
        f"--config.data.path={data}",
        *OVERRIDES,
        *overrides,
    ]
    return load_config(arguments)[0]
