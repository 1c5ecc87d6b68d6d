"""Codecs: features identical to the reference's, answers, and scores."""

import json

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.finetuning.codecs import make_codec
from electra_jax.finetuning.data.examples import (
    ChoiceExample,
    CodecSettings,
    TaggedExample,
    TextExample,
)
from electra_jax.finetuning.data.readers import read_examples
from electra_jax.finetuning.task_table import TASKS
from electra_jax.text.tokenizers.tokenizer import load_tokenizer, tokenizer_from_vocab
from electra_jax.text.tokenizers.wordpiece import Options

PAD, UNK, CLS, SEP, MASK = range(5)
VOCAB = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"##{c}" for c in "abcdefgh"))
A, B, C, D, E, F, G, H = range(5, 13)


@pytest.fixture(scope="module")
def letters():
    """Each of a … h is a token, alone (5 …) or within a word (13 …)."""
    return tokenizer_from_vocab(VOCAB, Options(True, None, True))


@pytest.fixture(scope="module")
def uncased(oracles):
    return load_tokenizer(oracles / "tokenization" / "vocab_uncased.txt")


@pytest.fixture(scope="module")
def recorded(oracles):
    return json.loads((oracles / "finetune_features" / "features.json").read_text())


def pair(*texts, label=None):
    return TextExample("f:1", "0", texts, label)


def codec_of(name, tokenizer, labels=None, **settings):
    task = TASKS[name]
    return make_codec(task, tokenizer, CodecSettings(**settings), labels or task.labels or ())


def encode(codec, example, train=False):
    (feature,) = codec.encode(example, train)
    return feature


# Against the reference.


@pytest.mark.parametrize("max_length", [24, 64])
def test_classification_features_equal_the_reference_s(recorded, uncased, max_length):
    codec = codec_of("mnli", uncased, max_length=max_length)
    rows = recorded[f"classification_max{max_length}"]
    assert rows
    for row in rows:
        texts = tuple(t for t in (row["text_a"], row["text_b"]) if t is not None)
        feature = encode(codec, pair(*texts, label=row["label"]), train=True)
        length = sum(row["input_mask"])
        assert feature["input_ids"].tolist() == row["input_ids"][:length]
        assert feature["token_type_ids"].tolist() == row["segment_ids"][:length]
        assert feature["label"] == row["label_id"]
        assert feature["input_ids"].dtype == feature["label"].dtype == np.int32
    assert 0 < codec.truncated < len(rows)


def test_regression_targets_equal_the_reference_s(recorded, letters):
    scaled = codec_of("stsb", letters, target_range=(0.0, 5.0))
    raw = codec_of("stsb", letters)
    for row in recorded["regression_targets"]:
        example = pair("a", "b", label=float(row["label"]))
        target = encode(scaled, example, train=True)["target"]
        assert target == np.float32(row["target"])
        assert target.dtype == np.float32
        assert encode(raw, example, train=True)["target"] == np.float32(row["label"])


# Texts.


def test_double_unordered_adds_the_swapped_pair(letters):
    codec = codec_of("mrpc", letters, double_unordered=True)
    examples = list(codec.expand([pair("a", "b", label="1"), pair("c", label="0")]))
    assert [e.texts for e in examples] == [("a", "b"), ("b", "a"), ("c",)]
    assert [e.label for e in examples] == ["1", "1", "0"]
    plain = codec_of("mrpc", letters)
    assert len(list(plain.expand([pair("a", "b", label="1")]))) == 1


def test_an_unknown_label_is_named(letters):
    codec = codec_of("pair", letters, ("x", "y"))
    with pytest.raises(UserError, match=r'f:1: unknown label "z"; the known labels are: x, y'):
        codec.encode(pair("a", label="z"), True)
    tags = codec_of("ner", letters, ("B-X", "O"))
    with pytest.raises(UserError, match=r'f:1: unknown label "B-Y"'):
        tags.encode(TaggedExample("f:1", "0", ("a",), ("B-Y",)), True)


def test_a_length_without_room_is_refused(letters):
    with pytest.raises(UserError, match=r"data.max_length=7 holds no text"):
        codec_of("sst2", letters, max_length=7)


def test_classification_is_decoded_and_scored(letters):
    codec = codec_of("mnli", letters)
    logits = np.array([0, np.log(3), np.log(4)], np.float32)
    answer = codec.decode(pair("a", "b"), [], [{"logits": logits}])
    assert answer["id"] == "0"
    assert answer["label"] == "neutral"
    assert answer["probabilities"] == pytest.approx(
        {"contradiction": 1 / 8, "entailment": 3 / 8, "neutral": 4 / 8}
    )
    json.dumps(answer)
    gold = [pair("a", "b", label=label) for label in ("neutral", "entailment")]
    assert codec.score(gold, [{"label": "neutral"}] * 2) == {"accuracy": 50.0}


def test_each_task_is_scored_by_its_official_metrics(letters):
    gold = [pair("a", label=label) for label in "1100"]
    said = [{"label": label} for label in "1000"]
    assert codec_of("cola", letters).score(gold, said) == pytest.approx(
        {"matthews": 100 / np.sqrt(3), "accuracy": 75}
    )
    assert codec_of("mrpc", letters).score(gold, said) == pytest.approx(
        {"f1": 200 / 3, "accuracy": 75}
    )
    directed = [pair("a", label=f"Cause-Effect(e{i},e{3 - i})") for i in (1, 2)]
    scores = codec_of("semeval2010_8", letters).score(
        directed, [{"label": "Cause-Effect(e1,e2)"}] * 2
    )
    assert scores == pytest.approx({"directed_f1": 50, "accuracy": 50})


@pytest.mark.parametrize(
    "task", [t for t in TASKS.values() if t.kind != "question_answering"], ids=lambda t: t.name
)
def test_every_task_gives_the_score_by_which_it_is_compared(letters, task):
    labels = task.labels or {"tagging": ("A", "B") if task.spans is False else ("B-X", "O")}.get(
        task.kind, ("1", "0")
    )
    codec = make_codec(task, letters, CodecSettings(), labels)
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


def test_scores_come_back_in_the_unit_of_the_data(letters):
    scaled = codec_of("stsb", letters, target_range=(1.0, 5.0))
    assert encode(scaled, pair("a", "b", label=4.0), train=True)["target"] == 0.75
    for shape in ((), (1,)):
        logits = np.full(shape, 0.75, np.float32)
        answer = scaled.decode(pair("a", "b"), [], [{"logits": logits}])
        assert answer == {"id": "0", "score": 4.0}
    examples = [pair("a", "b", label=x) for x in (1.0, 2.0, 4.0)]
    scores = scaled.score(examples, [{"score": x} for x in (1.0, 2.0, 3.0)])
    assert scores["spearman"] == pytest.approx(100)
    assert scores["mean_squared_error"] == pytest.approx(1 / 3)


# Relations.


def test_a_text_is_cut_around_its_entities():
    tokenizer = tokenizer_from_vocab((*VOCAB, "$", "#"), Options(True, None, True))
    head, tail = tokenizer.encode("$ #")
    example = TextExample("f:1", "0", ("a b c d $ e $ f # g # h a b",), "x")

    def ids(length):
        codec = codec_of("relation", tokenizer, ("x", "y"), max_length=length)
        feature = encode(codec, example, train=True)
        assert feature["label"] == 0 and codec.truncated == (length < 16)
        return feature["input_ids"].tolist()[1:-1], codec.lost_entities

    entities = [head, E, head, F, tail, G, tail]
    assert ids(16) == ([A, B, C, D, *entities, H, A, B], 0)
    assert ids(15) == ([A, B, C, D, *entities, H, A], 0)  # both fit at the beginning
    assert ids(12) == ([D, *entities, H, A], 0)
    assert ids(9) == (entities, 0)
    assert ids(8) == (entities[:-1], 1)


# Choices.


def test_each_choice_is_a_pair(letters):
    codec = codec_of("multiple_choice", letters, max_length=8)
    example = ChoiceExample("f:1", "0", "a b c d e f", ("g", "g h"), 1)
    feature = encode(codec, example, train=True)
    assert [ids.tolist() for ids in feature["input_ids"]] == [
        [CLS, A, B, C, D, SEP, G, SEP],
        [CLS, A, B, C, SEP, G, H, SEP],
    ]
    assert [types.tolist() for types in feature["token_type_ids"]] == [
        [0, 0, 0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 0, 1, 1, 1],
    ]
    assert feature["label"] == 1
    assert feature["label"].dtype == feature["input_ids"][0].dtype == np.int32
    assert codec.truncated == 2


def test_a_passage_is_cut_before_its_question(letters):
    codec = codec_of("multiple_choice", letters, max_length=8)
    feature = encode(codec, ChoiceExample("f:1", "0", "a b c d", ("g", "g h"), 1, "e f"))
    assert [ids.tolist() for ids in feature["input_ids"]] == [
        [CLS, A, B, E, F, SEP, G, SEP],
        [CLS, A, E, F, SEP, G, H, SEP],
    ]
    assert feature["token_type_ids"][1].tolist() == [0] * 5 + [1] * 3
    assert codec.truncated == 2
    long = ChoiceExample("f:1", "0", "a b", ("g h", "g"), 1, "c d e f")
    assert encode(codec, long)["input_ids"][0].tolist() == [CLS, C, D, E, SEP, G, H, SEP]
    short = ChoiceExample("f:1", "0", "a", ("g", "h"), 1, "b")
    assert encode(codec, short)["input_ids"][0].tolist() == [CLS, A, B, SEP, G, SEP]
    assert codec.truncated == 4


def test_the_oldest_turns_of_a_dialogue_are_cut_first(letters):
    codec = codec_of("ranking", letters, max_length=8)
    feature = encode(codec, ChoiceExample("f:1", "0", "a b\nc\nd e", ("g", "h")))
    assert feature["input_ids"][0].tolist() == [CLS, C, SEP, D, E, SEP, G, SEP]
    assert feature["token_type_ids"][0].tolist() == [0] * 6 + [1, 1]
    whole = codec_of("ranking", letters)
    feature = encode(whole, ChoiceExample("f:1", "0", "a\nb", ("g", "h")))
    assert feature["input_ids"][1].tolist() == [CLS, A, SEP, B, SEP, H, SEP]
    assert whole.truncated == 0


def test_a_choice_is_decoded_and_ranks_are_scored(letters):
    example = ChoiceExample("f:1", "0", "a", ("b", "c", "d"), 2)
    logits = np.array([0.0, 2.0, 1.0, 9.0])  # padded to four choices
    codec = codec_of("ranking", letters)
    answer = codec.decode(example, [], [{"logits": logits}])
    assert (answer["prediction"], answer["choice"]) == (1, "c")
    assert sum(answer["probabilities"]) == pytest.approx(1)
    assert len(answer["probabilities"]) == 3
    assert codec.score([example], [answer]) == {
        "recall_at_1": 0.0,
        "recall_at_2": 100.0,
        "recall_at_5": 100.0,
        "mrr": 50.0,
    }
    assert codec_of("multiple_choice", letters).score([example], [answer]) == {"accuracy": 0.0}


# Real data.


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
    codec = codec_of(name, uncased, tuple(sorted(labels)), max_length=64)
    for example in examples:
        feature = encode(codec, example, train=True)
        ids = feature["input_ids"]
        for row in ids if isinstance(ids, list) else [ids]:
            assert row[0] == 101
            assert row[-1] == 102
            assert len(row) <= 64
