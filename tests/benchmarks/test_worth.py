"""`worth.py`'s cells and statistics, and BLiMP's scores, on a committed pair of networks."""

import argparse
import itertools
from pathlib import Path

import numpy as np
import pytest

import electra_jax

ROOT = Path(__file__).resolve().parents[2]
PAIR = ROOT / "tests" / "training" / "b199300" / "pair"


@pytest.fixture
def worth(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import worth

    return worth


@pytest.fixture
def table(worth):
    import worth_table

    return worth_table


@pytest.fixture(scope="module")
def blimp():
    import sys

    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import blimp
    finally:
        sys.path.pop(0)
    return blimp


def line(score, examples):
    """A cell whose score over resampled examples is `score` plus these deviations."""
    return {"score": score, "resampled": [score + x for x in examples]}


def test_a_difference_is_paired_by_seed_and_by_resample(table):
    shared = [-3.0, 0.0, 3.0]
    ours = {(0, 0): line(82.0, shared), (0, 1): line(80.0, shared)}
    theirs = {(0, 0): line(80.0, shared), (0, 1): line(77.0, shared)}
    mean, error = table.difference(ours, theirs)
    assert mean == 2.5
    assert error == pytest.approx(0.5)  # the seeds' alone: the examples' part is common to both
    _, alone = table.difference(ours, {(0, 0): line(0.0, [0.0] * 3), (0, 1): line(0.0, [0.0] * 3)})
    assert alone == pytest.approx((1.0 + 9.0) ** 0.5)


def test_a_mean_is_over_the_tasks_that_both_have(table):
    still = [0.0, 0.0]
    ours = {"a": {(0, 0): line(80.0, still)}, "b": {(0, 0): line(10.0, still)}}
    found = table.compared(ours, {"a": {(0, 0): line(70.0, still)}})
    assert found["mean"] == 10.0 and set(found["tasks"]) == {"a"}
    assert found["tasks"]["a"]["better"] == 1
    worse = table.compared(ours, {"a": {(0, 0): line(90.0, still)}})
    assert worse["tasks"]["a"]["better"] == -1
    assert table.compared(ours, {"c": {(0, 0): line(1.0, still)}}) == {}


def test_the_cells_of_a_track(worth):
    a = argparse.Namespace(
        contestants=["ours", "random", "reference", "tfidf"], minutes=60.0, seeds=3, label=""
    )
    cells = list(worth.cells(worth.TRACKS["english"], a))
    keys = [worth._key(cell) for cell in cells]
    assert len(set(keys)) == len(keys)
    of = lambda **wanted: sum(all(c.get(k) == v for k, v in wanted.items()) for c in cells)  # noqa: E731
    assert of(contestant="ours", stage="pretrain") == 2
    assert of(contestant="reference", stage="pretrain") == 1
    assert of(contestant="random", stage="blimp") == 0 and of(contestant="ours", stage="blimp") == 2
    assert of(contestant="ours", task="mrpc") == 6 and of(contestant="reference", task="mrpc") == 1
    assert of(contestant="ours", task="squad1") == 1  # one seed of one pretraining
    assert of(contestant="tfidf") == 1
    for cell in cells:  # nothing is fine-tuned before it is pretrained
        if cell["stage"] != "pretrain" and cell["contestant"] != "tfidf":
            start = {k: cell[k] for k in ("contestant", "pretraining")} | {"stage": "pretrain"}
            before = cells[: cells.index(cell)]
            assert any(all(c.get(k) == v for k, v in start.items()) for c in before)


def test_accuracy_is_a_mean_of_means_and_ties_are_wrong(blimp):
    pairs = [
        {"uid": uid, "term": term}
        for uid, term, count in (("x", "one", 4), ("y", "one", 2), ("z", "two", 1))
        for _ in range(count)
    ]
    found = blimp.accuracy(pairs, [1.0, 1.0, -1.0, 0.0, 1.0, 1.0, -2.0])
    assert found == {"mean": 37.5, "phenomena": {"one": 75.0, "two": 0.0}, "pairs": 7}


SENTENCES = (
    "the bird walks over the old bridge",
    "a stone finds evening",
    "winter keeps one river",
)


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_scores_are_the_network_s_own_probabilities(blimp, name):
    model = getattr(electra_jax.load(PAIR), name)
    pairs = [{"good": s, "bad": t} for s, t in itertools.pairwise(SENTENCES)]
    found = blimp.margins(model, pairs)
    expected = [score(model, name, p["good"]) - score(model, name, p["bad"]) for p in pairs]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert min(map(abs, found)) > 1e-3


def score(model, name, sentence):
    """By the public call, one text at a time."""
    batch = model.tokenizer([sentence])
    ids = batch.input_ids[0]
    if name == "discriminator":
        logits = np.asarray(model(batch).logits, np.float64)[0]
        return -np.log1p(np.exp(logits[1:-1])).sum()
    total = 0.0
    for place in range(1, len(ids) - 1):
        masked = batch.input_ids.copy()
        masked[0, place] = model.tokenizer.special_ids.mask
        inputs = {**batch, "input_ids": masked}
        logits = np.asarray(model(inputs).logits, np.float64)[0, place]
        total += logits[ids[place]] - np.log(np.exp(logits).sum())
    return total
