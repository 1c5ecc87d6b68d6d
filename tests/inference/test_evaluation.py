"""The scores of a model are a dict, with a table of classes beside it."""

import math

from electra_jax.finetuning.metrics.classification import Scores
from electra_jax.inference.evaluation import Evaluation


def test_it_is_the_dict_of_scores():
    found = Evaluation({"accuracy": 50.0}, {"a": Scores(1, 2, 3, 4)})
    assert found == {"accuracy": 50.0} and found.classes["a"].support == 4


def test_it_describes_classes_and_scores():
    found = Evaluation({"accuracy": 50.0, "pearson": math.nan}, {"a": Scores(100, 50, 66.7, 4)})
    lines = found.describe().splitlines()
    assert lines[1].split() == ["class", "precision", "recall", "F1", "support"]
    assert lines[-1] == "accuracy 50.0 %, pearson undefined"
    assert Evaluation({"mean_squared_error": 2.0}, {}).describe() == "mean_squared_error 2"
