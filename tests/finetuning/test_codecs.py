"""Codecs of every task: the score that runs compare by, lengths, real data."""

import json

import numpy as np
import pytest
from finetuning.letters import LETTERS, codec_of, encode, pair

from electra_jax.errors import UserError
from electra_jax.finetuning.codecs import make_codec
from electra_jax.finetuning.data.examples import ChoiceExample, CodecSettings, TaggedExample
from electra_jax.finetuning.data.readers import read_examples
from electra_jax.finetuning.task_table import TASKS


def test_a_length_without_room_is_refused():
    with pytest.raises(UserError, match=r"data.max_length=7 holds no text"):
        codec_of("sst2", max_length=7)


@pytest.mark.parametrize(
    "task", [t for t in TASKS.values() if t.kind != "question_answering"], ids=lambda t: t.name
)
def test_every_task_gives_the_score_by_which_it_is_compared(task):
    labels = task.labels or {"tagging": ("A", "B") if task.spans is False else ("B-X", "O")}.get(
        task.kind, ("1", "0")
    )
    codec = make_codec(task, LETTERS, CodecSettings(), labels)
    if task.kind == "tagging":
        examples = [TaggedExample("f:1", "0", ("a", "b"), labels)]
        outputs = {"logits": np.eye(2)}
    elif task.kind in ("multiple_choice", "ranking"):
        examples = [ChoiceExample("f:1", "0", "a", ("b", "c"), 0)]
        outputs = {"logits": np.array([1.0, 0.0])}
    else:
        one = {"regression": 1.0, "multilabel": (labels[0],)}.get(task.kind, labels[0])
        examples = [
            pair("a", label=one),
            pair("b", label=1.5 if task.kind == "regression" else one),
        ]
        outputs = {"logits": np.eye(len(labels))[0]}
        if task.kind == "regression":
            outputs = {"logits": np.array([1.0])}
    features = [codec.encode(example, True) for example in examples]
    answers = [codec.decode(e, f, [outputs]) for e, f in zip(examples, features)]
    json.dumps(answers)
    scores = codec.score(examples, answers)
    assert codec.metric == task.metric
    assert set(task.metrics) <= set(scores)
    assert all(isinstance(value, float) for value in scores.values())


@pytest.mark.parametrize(
    ("name", "folder"),
    [("semeval2010_8", "re_semeval2010_8"), ("ner", "ner_resume_zh"), ("ranking", "dlg_sgd")],
)
def test_real_data_is_encoded(shared_data, uncased, name, folder):
    file = next(
        (shared_data / folder).glob("*train.jsonl.gz" if name != "ranking" else "rs_train*")
    )
    examples = [e for e, _ in zip(read_examples(TASKS[name], file), range(50))]
    labels = {tag for e in examples for tag in getattr(e, "tags", None) or ()}
    codec = codec_of(name, tuple(sorted(labels)), tokenizer=uncased, max_length=64)
    for example in examples:
        feature = encode(codec, example, train=True)
        ids = feature["input_ids"]
        for row in ids if isinstance(ids, list) else [ids]:
            assert row[0] == 101
            assert row[-1] == 102
            assert len(row) <= 64
