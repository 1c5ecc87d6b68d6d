"""Scores with their units: every metric of the table of tasks is known."""

import math

import pytest

from electra_jax.finetuning.metrics.units import shown_metrics, title_of, unit_of, with_unit
from electra_jax.finetuning.task_table import TASKS, get_task


@pytest.mark.parametrize("name", TASKS)
def test_official_metrics_are_in_percent_but_for_errors(name):
    for metric in get_task(name).metrics:
        assert unit_of(metric) == ("" if metric == "mean_squared_error" else "%"), metric


def test_numbers_that_are_no_shares_have_no_unit():
    for metric in ("missed_words", "total", "best_f1_thresh", "loss", "HasAns_total"):
        assert unit_of(metric) == ""
    assert unit_of("HasAns_f1") == unit_of("best_exact_match") == "%"


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("accuracy", 87.251, "87.3 %"),
        ("mean_squared_error", 0.012345, "0.01235"),
        ("pearson", math.nan, "undefined"),
        ("f1", None, "undefined"),
    ],
)
def test_a_score_is_shown_with_its_unit(metric, value, shown):
    assert with_unit(metric, value) == shown


@pytest.mark.parametrize(
    ("metric", "title"),
    [("macro_f1", "Macro F1"), ("f1", "F1"), ("recall_at_1", "Recall at 1"), ("mrr", "Mrr")],
)
def test_titles_are_words(metric, title):
    assert title_of(metric) == title


def test_metrics_are_headlines_with_their_direction():
    shown = shown_metrics(("pearson", "mean_squared_error"))
    assert [(m.title, m.unit, m.better, m.headline) for m in shown] == [
        ("Pearson", "%", 1, True),
        ("Mean squared error", "", -1, True),
    ]
