"""Runs that learnt nothing are told from those that did."""

import numpy as np
import pytest

from electra_jax.finetuning.chance import above_chance
from electra_jax.finetuning.data.examples import (
    ChoiceExample,
    QuestionExample,
    TaggedExample,
    TextExample,
)
from electra_jax.finetuning.data.values import Missing
from electra_jax.finetuning.diagnosis import constant_loss, failure


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
    assert constant_loss("regression", texts(1.0, 3.0), (1.0, 3.0)) == pytest.approx(0.25)
    several = texts(("a", "b"), ("a",), ("a", "b"), ("a",))
    assert constant_loss("multilabel", several) == pytest.approx(np.log(2) / 2)
    assert constant_loss("question_answering", []) is None


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


def test_answers_far_above_chance_outweigh_a_training_loss():
    labels = ["a", "b"] * 10
    assert (
        judge("classification", texts(*labels), said(*labels), loss=0.69, constant=0.6931) is None
    )
    wrong = said(*labels[:8], *["a"] * 12)
    assert "0.690" in judge("classification", texts(*labels), wrong, loss=0.69, constant=0.6931)
    # A third right of four labels, the early step of a run that went back to a constant.
    four = texts(*"abcd" * 90)
    weak = said(*"abcd" * 32, *"bcda" * 58)
    assert above_chance([e.label for e in four], [x["label"] for x in weak]) > 3
    assert "1.380" in judge("classification", four, weak, loss=1.38, constant=1.3863)
    # Of 20 rare ones 8 are found, which no mean of a few steps' loss shows.
    rare = texts(*["no"] * 980, *["yes"] * 20)
    few = said(*["no"] * 978, *["yes"] * 2, *["yes"] * 8, *["no"] * 12)
    assert judge("classification", rare, few, loss=0.1, constant=0.098) is None
    choices = [ChoiceExample("f:1", str(i), "c", ("x", "y"), 0) for i in range(20)]
    right = [{"prediction": 0}] * 20
    assert judge("multiple_choice", choices, right, loss=0.69, constant=0.6931) is None
    several = texts(*[("a",), ("a", "b")] * 10)
    found = [{"labels": list(e.label)} for e in several]
    assert judge("multilabel", several, found, loss=0.4, constant=0.35) is None
    assert "0.400" in judge("multilabel", several[:2], found[:2], loss=0.4, constant=0.35)
    numbers = texts(*map(float, range(20)))
    rising = [{"score": i / 2} for i in range(20)]
    assert judge("regression", numbers, rising, {"pearson": 100.0}, 0.2, 0.1) is None
    mixed = [{"score": float(i % 2)} for i in range(20)]
    assert "0.200" in judge("regression", numbers, mixed, {"pearson": 50.0}, 0.2, 0.1)


def test_every_kind_of_answer():
    assert "vary" in judge("regression", texts(1.0, 3.0), [{"score": 2.0}, {"score": 2.001}])
    assert judge("regression", texts(1.0, 3.0), [{"score": 1.5}, {"score": 2.5}]) is None
    tagged = [TaggedExample("f:1", "0", ("a", "b"), ("B-X", "O"))]
    assert '"O"' in judge("tagging", tagged, [{"tags": ["O", "O"]}])
    assert judge("tagging", tagged, [{"tags": ["B-X", "O"]}]) is None
    untagged = [TaggedExample("f:1", "0", ("a",), (Missing("-"),))]
    assert judge("tagging", untagged, [{"tags": ["B-X"]}], {"f1": 0.0}, 0.9, 0.7) is not None
    assert judge("tagging", untagged, [{"tags": ["B-X"]}], {"accuracy": 0.0}) is None
    assert "entities is 0.0" in judge("tagging", tagged, [{"tags": ["O", "B-X"]}])
    assert judge("tagging", tagged, [{"tags": ["O", "B-X"]}], loss=0.1, constant=0.7) is None
    several = texts(("a",), ("b",))
    same = [{"labels": ["a"]}, {"labels": ["a"]}]
    assert "same labels" in judge("multilabel", several, same)
    assert "no label" in judge("multilabel", several, [{"labels": []}, {"labels": []}])
    assert "no label" in judge("multilabel", texts(("a",), ("a",)), [{"labels": []}] * 2)
    assert judge("multilabel", texts(("a",), ("a",)), same) is None
    many = texts(*[("a",), ("b",), ("c",)] * 10)
    assert "chance" in judge("multilabel", many, [{"labels": [x]} for x in "bca" * 10])
    assert judge("multilabel", many, [{"labels": [x]} for x in "abb" * 10]) is None
    numbers = texts(*map(float, range(30)))
    opposite = [{"score": -i} for i in range(30)]
    found = judge("regression", numbers, opposite, {"pearson": -100.0})
    assert "correlation -1.00" in found
    assert judge("regression", numbers, opposite, {"pearson": 50.0}) is None
    choices = [ChoiceExample("f:1", str(i), "c", ("x", "y"), 0) for i in range(4)]
    half = [{"prediction": i % 2} for i in range(4)]
    assert "2 of 4" in judge("multiple_choice", choices, half)
    assert judge("multiple_choice", choices, half, loss=0.2, constant=0.69) is None  # 4 are few
    single = [ChoiceExample("f:1", "0", "c", ("x",), 0)]
    assert judge("ranking", single, [{"prediction": 0}]) is None
    context = "the answer is somewhere in a text of several words that are not the right ones"
    questions = [QuestionExample("f:1", "0", "q", context, (("somewhere", 14),))]
    assert "F1" in judge("question_answering", questions, [{"prediction_text": "x"}], {"f1": 1.0})
    assert judge("question_answering", questions, [{"prediction_text": "x"}], {"f1": 60.0}) is None
    # Half of the questions have no answer: saying so of all of them is worth 50.
    impossible = QuestionExample("f:2", "1", "q", context, (), True)
    half = [*questions * 50, *[impossible] * 50]
    said = [{"prediction_text": "x"}, {"prediction_text": ""}] * 50
    found = judge("question_answering", half, said, {"f1": 45.0, "best_f1": 51.0})
    assert "its F1 is 51.0, where answering no question has 50.0" in found
    better = {"f1": 45.0, "best_f1": 55.0}
    assert judge("question_answering", half, said, better) is None
    rare = [*questions * 3, *[impossible] * 197]
    answers = [said[0]] * 3 + [said[1]] * 197
    assert judge("question_answering", rare, answers, {"f1": 100.0, "best_f1": 100.0}) is None
    assert "98.6" in judge("question_answering", rare, answers, {"f1": 98.6, "best_f1": 98.6})
    assert "no question" in judge(
        "question_answering", questions, [{"prediction_text": ""}], {"f1": 50.0}
    )
