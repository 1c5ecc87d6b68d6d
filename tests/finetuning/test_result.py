"""Results on disk and in words, and statistics over seeds."""

import dataclasses
import math

import pytest

from electra_jax.finetuning.result import (
    RESTART_STEP,
    Result,
    describe_result,
    describe_summary,
    read_result,
    summarize,
    write_result,
)

DONE = Result(
    seed=0,
    step=40,
    metric="f1",
    score=81.25,
    scores={"f1": 81.25, "accuracy": 90.0},
    test_scores={},
    failure=None,
    restarts=0,
    trained_parameters=3,
    trained_without_head=1,
    parameters=9,
    seconds=1.5,
)


def test_a_result_is_read_as_it_was_written(tmp_path):
    assert read_result(tmp_path) is None
    write_result(tmp_path, DONE)
    assert read_result(tmp_path) == DONE


def test_one_line_says_scores_restarts_and_failure():
    assert describe_result(DONE) == "f1 81.25, accuracy 90"
    again = dataclasses.replace(DONE, restarts=2, test_scores={"f1": 80.0}, failure="why")
    assert describe_result(again).startswith(
        "f1 81.25, accuracy 90; test: f1 80 (after 2 restarts); DID NOT LEARN: why; try more steps"
    )
    unscored = dataclasses.replace(DONE, scores={})
    assert describe_result(unscored) == "no evaluation data"
    assert describe_result(dataclasses.replace(unscored, failure="x")).startswith("no scores; DID")


def test_a_restarted_run_is_named_by_its_first_seed():
    third = dataclasses.replace(DONE, seed=7 + 2 * RESTART_STEP, restarts=2)
    assert third.first_seed == 7


def test_an_undefined_score_is_null_on_disk(tmp_path):
    scores = {"pearson": math.nan, "spearman": 3.0}
    result = Result(0, 1, "pearson", math.nan, scores, {}, "constant", 0, 1, 1, 1, 1.0)
    write_result(tmp_path, result)
    assert "NaN" not in (tmp_path / "result.json").read_text()
    again = read_result(tmp_path)
    assert again.score is None and math.isnan(again.scores["pearson"])
    summary = summarize([result])
    assert (summary["runs"], summary["scored"], summary["each"]) == (1, 0, [None])
    assert describe_summary(summary).startswith(
        "no score of 1 seeds; did not learn: 1 (seed 0), restarts: 0; try more steps"
    )


def test_seeds_without_a_score_are_counted_and_not_averaged():
    scores = (80.0, math.nan, None)
    results = [
        Result(i, 1, "f1", x, {}, {}, None if i == 0 else "constant", i, 1, 1, 1, 1.0)
        for i, x in enumerate(scores)
    ]
    results[2] = dataclasses.replace(results[2], seed=2 + 2 * RESTART_STEP)
    summary = summarize(results)
    assert summary["each"] == [80.0, None, None] and summary["std"] is None
    line = describe_summary(summary)
    assert line.startswith(
        "f1 over 1 of 3 seeds: mean 80.00, median 80.00, max 80.00, each 80.00, none"
    )
    assert "did not learn: 2 (seed " in line and line.count("standard deviation") == 0
    both = summarize([results[0], dataclasses.replace(results[0], score=82.0)])
    assert both["std"] == pytest.approx(2**0.5)
    assert "f1 over 2 seeds: mean 81.00, standard deviation 1.41" in describe_summary(both)
