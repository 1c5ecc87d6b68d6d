"""Runs that learnt nothing are told from those that did."""

import numpy as np
import pytest

from electra_jax.finetuning.examples import (
    ChoiceExample,
    QuestionExample,
    TaggedExample,
    TextExample,
)
from electra_jax.finetuning.learned import constant_loss, failure


def texts(*labels):
    return [TextExample("f:1", str(i), ("a",), label) for i, label in enumerate(labels)]


def said(*labels):
    return [{"label": label} for label in labels]


def judge(kind, examples, predictions, scores=None, loss=None, constant=None):
    return failure(kind, examples, predictions, scores or {}, loss, constant)


def test_the_loss_of_the_best_constant():
    assert constant_loss("classification", texts("a", "a", "b", "b")) == pytest.approx(np.log(2))
    choices = [ChoiceExample("f:1", "0", "c", ("x", "y", "z"), 0)]
    assert constant_loss("ranking", choices) == pytest.approx(np.log(3))
    tags = [TaggedExample("f:1", "0", ("a", "b"), ("O", "O"))]
    assert constant_loss("tagging", tags) == 0
    assert constant_loss("regression", texts(1.0, 2.0)) is None


def test_one_answer_to_everything_is_no_learning():
    gold = texts("a", "b", "a")
    assert '"a"' in judge("classification", gold, said("a", "a", "a"))
    assert judge("classification", gold, said("a", "b", "a")) is None
    assert judge("classification", texts("a", "a"), said("a", "a")) is None


def test_worse_than_always_the_commonest():
    gold = texts("a", "a", "a", "b")
    assert "1 of 4" in judge("relation", gold, said("b", "b", "a", "a"))


def test_weighted_classes_may_cost_accuracy():
    """90 of 100 rare texts found with 120 false alarms is less accurate than finding none."""
    gold = texts(*["no"] * 900, *["yes"] * 100)
    found = said(*["no"] * 780, *["yes"] * 120, *["yes"] * 90, *["no"] * 10)
    assert judge("classification", gold, found) is None
    chance = said(*(["no"] * 5 + ["yes"] * 5) * 100)
    assert "500 of 1000" in judge("classification", gold, chance)


def test_a_training_loss_at_the_constant_s():
    assert "0.690" in judge("classification", [], [], loss=0.69, constant=0.6931)
    assert judge("classification", [], [], loss=0.5, constant=0.6931) is None


def test_every_kind_of_answer():
    assert "vary" in judge("regression", texts(1.0, 3.0), [{"score": 2.0}, {"score": 2.001}])
    assert judge("regression", texts(1.0, 3.0), [{"score": 1.5}, {"score": 2.5}]) is None
    tagged = [TaggedExample("f:1", "0", ("a", "b"), ("B-X", "O"))]
    assert '"O"' in judge("tagging", tagged, [{"tags": ["O", "O"]}])
    assert judge("tagging", tagged, [{"tags": ["B-X", "O"]}]) is None
    several = texts(("a",), ("b",))
    assert "same labels" in judge("multilabel", several, [{"labels": ["a"]}, {"labels": ["a"]}])
    choices = [ChoiceExample("f:1", str(i), "c", ("x", "y"), 0) for i in range(4)]
    half = [{"prediction": i % 2} for i in range(4)]
    assert "2 of 4" in judge("multiple_choice", choices, half)
    questions = [QuestionExample("f:1", "0", "q", "c", (("c", 0),))]
    assert "F1" in judge("question_answering", questions, [{"prediction_text": "x"}], {"f1": 1.0})
    assert judge("question_answering", questions, [{"prediction_text": "x"}], {"f1": 60.0}) is None
    # Half of the questions have no answer: saying so of all of them is worth 50.
    half = [*questions, QuestionExample("f:2", "1", "q", "c", (), True)]
    said = [{"prediction_text": "x"}, {"prediction_text": ""}]
    found = judge("question_answering", half, said, {"f1": 45.0, "best_f1": 51.0})
    assert "its F1 is 51.0, where answering no question has 50.0" in found
    better = {"f1": 45.0, "best_f1": 55.0}
    assert judge("question_answering", half, said, better) is None
    assert "no question" in judge(
        "question_answering", questions, [{"prediction_text": ""}], {"f1": 50.0}
    )
