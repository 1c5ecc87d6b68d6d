"""Scores by class: those of scikit-learn, in a table of bounded length."""

import random

import pytest

from electra_jax.finetuning.metrics.classification import Scores, entity_scores
from electra_jax.finetuning.metrics.per_class import class_scores, class_table, describe_classes
from electra_jax.finetuning.metrics.spans import find_spans


def test_scores_of_labels_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(0)
    labels = ["a", "b", "c", "never"]
    gold = draw.choices("aab", k=200)
    predicted = draw.choices("abc", k=200)
    found = class_scores([{(x,)} for x in gold], [{(x,)} for x in predicted], labels)
    expected = metrics.precision_recall_fscore_support(
        gold, predicted, labels=labels, zero_division=0
    )
    assert list(found) == labels
    for name, *row in zip(labels, *expected, strict=True):
        assert found[name] == pytest.approx((*(100 * x for x in row[:3]), row[3]))


def test_scores_of_spans_are_those_of_the_span_metric():
    draw = random.Random(1)
    tags = ["B-X", "I-X", "B-Y", "I-Y", "O"]
    gold, predicted = ([draw.choices(tags, k=9) for _ in range(30)] for _ in range(2))
    expected = entity_scores(gold, predicted)
    expected.pop("overall")
    sides = [[set(find_spans(t)) for t in side] for side in (gold, predicted)]
    assert class_scores(*sides) == expected


def test_an_item_counts_once_for_each_example_that_has_it():
    found = class_scores([{("a", 0), ("a", 1)}, {("a", 0)}], [{("a", 1)}, set()])
    assert found == {"a": Scores(100.0, pytest.approx(100 / 3), 50.0, 3)}
    with pytest.raises(ValueError, match="shorter"):
        class_scores([{("a",)}], [])


def test_of_many_classes_the_worst_are_shown():
    scores = {f"c{n}": Scores(1.0, 1.0, float(n), 1) for n in range(30)}
    title, rows = class_table(scores)
    assert title == "Scores by class, in %" and [row[0] for row in rows] == list(scores)
    scores = {f"c{n}": Scores(1.0, 1.0, float(-n), 1200) for n in range(31)}
    title, rows = class_table(scores)
    assert title.endswith("the 30 lowest of 31")
    assert rows[0] == ["c30", "1.0", "1.0", "-30.0", "1,200"] and len(rows) == 30
    assert "c0" not in [row[0] for row in rows]


def test_the_table_is_aligned():
    scores = {"a": Scores(100.0, 50.0, 66.66, 2), "very long": Scores(0.0, 0.0, 0.0, 0)}
    assert describe_classes(scores).splitlines()[1:] == [
        "class      precision  recall    F1  support",
        "a              100.0    50.0  66.7        2",
        "very long        0.0     0.0   0.0        0",
    ]
    assert describe_classes({}) == ""
