"""Several labels a text."""

import jax.numpy as jnp
import numpy as np
import pytest
from finetuning.letters import codec_of, encode, pair
from finetuning.task_files import read

from electra_jax.config.finetuning import LossSettings
from electra_jax.errors import UserError
from electra_jax.finetuning.kinds.table import find_kind


def test_labels_are_a_list_or_names_between_commas(write):
    path = write("a.jsonl", {"text": "a", "labels": ["x", 2, "x"]}, {"text": "b", "labels": []})
    assert [e.label for e in read("multilabel", path)] == [("x", "2"), ()]
    table = write("a.tsv", "text\tlabels", "a\tx, y", "b\t")
    assert [e.label for e in read("multilabel", table)] == [("x", "y"), ()]


def test_several_labels_are_those_over_the_threshold():
    codec = codec_of("multilabel", ("x", "y", "z"), threshold=0.6)
    example = pair("a", label=("x", "z"))
    feature = encode(codec, example, train=True)
    assert feature["labels"].tolist() == [1, 0, 1]
    assert feature["labels"].dtype == np.float32
    assert encode(codec, pair("a", label=()), train=True)["labels"].tolist() == [0, 0, 0]
    logits = np.array([3.0, -3.0, np.log(1.4)])
    answer = codec.decode(example, [feature], [{"logits": logits}])
    assert answer["labels"] == ["x"]
    assert answer["probabilities"]["z"] == pytest.approx(1.4 / 2.4)
    assert codec.score([example], [answer]) == pytest.approx(
        {"micro_f1": 200 / 3, "macro_f1": 100 / 3, "exact_match": 0}
    )


def test_the_constant_loss_is_the_mean_entropy_of_the_labels():
    """x holds for half, y for all: ln 2 and 0."""
    examples = [pair("a", label=("x", "y")), pair("b", label=("y",))]
    kind = find_kind("multilabel")
    assert kind.constant_loss(examples, (0.0, 1.0)) == pytest.approx(np.log(2) / 2)
    assert kind.constant_loss([pair("a", label=())], (0.0, 1.0)) is None


def test_smoothed_labels_meet_in_the_middle():
    logits, labels = jnp.array([[0.0, 2.0]]), jnp.array([[1.0, 0.0]])
    loss = find_kind("multilabel").row_losses(
        {"logits": logits}, {"labels": labels}, LossSettings(label_smoothing=0.2)
    )
    p = 1 / (1 + np.exp(-2.0))
    second = -0.1 * np.log(p) - 0.9 * np.log(1 - p)
    assert loss.tolist() == pytest.approx([(np.log(2) + second) / 2], rel=1e-6)


def test_a_label_that_training_has_not_seen_is_missed():
    codec = codec_of("multilabel", ("x", "y"))
    gold = [pair("a", label=("x", "new")), pair("b", label=("y",))]
    scores = codec.score(gold, [{"labels": ["x"]}, {"labels": ["y"]}])
    assert scores == pytest.approx({"micro_f1": 80, "macro_f1": 200 / 3, "exact_match": 50})
    with pytest.raises(UserError, match=r'f:1: unknown label "new"'):
        codec.encode(gold[0], True)
