"""Classification: features as the reference's, answers, official scores."""

import json

import numpy as np
import pytest
from finetuning.letters import codec_of, encode, pair

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import TextExample
from electra_jax.finetuning.kinds.classification import Classification


@pytest.mark.parametrize("max_length", [24, 64])
def test_classification_features_equal_the_reference_s(recorded, uncased, max_length):
    codec = codec_of("mnli", tokenizer=uncased, max_length=max_length)
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


def test_classification_is_decoded_and_scored():
    codec = codec_of("mnli")
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


def test_each_task_is_scored_by_its_official_metrics():
    gold = [pair("a", label=label) for label in "1100"]
    said = [{"label": label} for label in "1000"]
    assert codec_of("cola").score(gold, said) == pytest.approx(
        {"matthews": 100 / np.sqrt(3), "accuracy": 75}
    )
    assert codec_of("mrpc").score(gold, said) == pytest.approx({"f1": 200 / 3, "accuracy": 75})
    directed = [pair("a", label=f"Cause-Effect(e{i},e{3 - i})") for i in (1, 2)]
    scores = codec_of("semeval2010_8").score(directed, [{"label": "Cause-Effect(e1,e2)"}] * 2)
    assert scores == pytest.approx({"directed_f1": 50, "accuracy": 50})


def labelled(*labels):
    return [TextExample("f:1", str(i), ("a",), label) for i, label in enumerate(labels)]


def test_labels_are_those_that_occur_in_natural_order():
    kind = Classification()
    assert kind.labels(None, labelled("b", "a", "b")) == ("a", "b")
    assert kind.labels(None, labelled("10", "9", "-1")) == ("-1", "9", "10")
    with pytest.raises(UserError, match='have the same label, "a"'):
        kind.labels(None, labelled("a", "a"))


def test_errors_are_the_confusion_matrix():
    predictions = [{"label": label} for label in ("a", "a", "b")]
    (block,) = Classification().errors(labelled("a", "b", "b"), predictions, ("a", "b"))
    assert block["matrix"] == {"labels": ["a", "b"], "counts": [[1, 0], [1, 1]]}
