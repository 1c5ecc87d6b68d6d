"""Learning rates: the recorded tables of the reference, and the other decays by hand."""

import json

import numpy as np
import pytest

from electra_jax.config.schedule import Schedule
from electra_jax.errors import UserError
from electra_jax.training.schedules import learning_rate_schedule


def test_recorded_schedules(oracles):
    table = json.loads((oracles / "tables/learning_rates.json").read_text())["schedules"]
    assert len(table) >= 7
    for name, row in table.items():
        total = row["num_train_steps"]
        # The reference does not round a share of the steps: 37 steps · 0.1 warm up for 3.7.
        warmup = max(total * row["warmup_proportion"], row["warmup_steps"])
        schedule = learning_rate_schedule(
            row["learning_rate"], total, warmup, power=row["lr_decay_power"]
        )
        ours = schedule(np.asarray(row["steps"]))
        np.testing.assert_allclose(ours, row["lr_at_step"], rtol=2e-6, atol=1e-12, err_msg=name)


def test_the_warm_up_multiplies_the_decay():
    schedule = learning_rate_schedule(1.0, 100, 10)
    np.testing.assert_allclose(schedule(0), 0)
    np.testing.assert_allclose(schedule(5), 0.5 * 0.95, rtol=1e-6)
    np.testing.assert_allclose(schedule(10), 0.9, rtol=1e-6)
    np.testing.assert_allclose(schedule(np.array([100, 101, 500])), 0, atol=1e-7)


def test_other_decays():
    at = np.array([0, 10, 50, 90, 95, 100, 200])
    constant = learning_rate_schedule(2.0, 100, 0, decay="constant")
    np.testing.assert_allclose(constant(at), np.full(7, 2.0) * np.ones(7))
    cosine = learning_rate_schedule(2.0, 100, 0, decay="cosine")
    np.testing.assert_allclose(
        cosine(at), 1 + np.cos(np.pi * np.minimum(at, 100) / 100), rtol=1e-5, atol=1e-6
    )
    wsd = learning_rate_schedule(2.0, 100, 20, decay="wsd", decay_fraction=0.1)
    tail = 2 * (1 - np.sqrt(0.5))
    np.testing.assert_allclose(wsd(at), [0, 1, 2, 2, tail, 0, 0], rtol=1e-4, atol=1e-6)


def test_the_decay_of_wsd_ends_at_its_floor():
    at = np.array([0, 89, 90, 95, 100, 200])
    plain, floored = (
        learning_rate_schedule(2.0, 100, 0, decay="wsd", decay_floor=floor)(at)
        for floor in (0.0, 0.25)
    )
    np.testing.assert_allclose(floored, 0.5 + 0.75 * plain, rtol=1e-6)
    np.testing.assert_allclose(floored[np.array([0, -1])], [2.0, 0.5], rtol=1e-6)


def test_an_offset_continues_a_schedule():
    whole = learning_rate_schedule(1.0, 100, 10)
    later = learning_rate_schedule(1.0, 100, 10, offset=40)
    np.testing.assert_array_equal(later(np.arange(5)), whole(np.arange(40, 45)))


def test_no_warm_up_begins_at_the_peak():
    np.testing.assert_allclose(learning_rate_schedule(3.0, 10, 0)(0), 3.0)


def test_a_scheduled_rate_takes_the_place_of_the_decay():
    at = np.array([0, 5, 10, 50, 100, 200])
    for peak in ("linear(2, 1)", Schedule.parse("linear(2, 1)").over(100)):
        rate = learning_rate_schedule(peak, 100, 10, decay="cosine")
        expected = (2 - np.minimum(at, 100) / 100) * np.minimum(1, at / 10)
        np.testing.assert_allclose(rate(at), expected, rtol=1e-6)
    by_tokens = learning_rate_schedule("step(2, 1, tokens=1000)", 100, 0, tokens_per_step=100)
    np.testing.assert_array_equal(by_tokens(np.array([9, 10])), [2, 1])
    for wrong, message in (
        ("linear(1, -1)", "optimizer.learning_rate=.*must not be negative"),
        ("linear(1, 2, tokens=5)", "optimizer.learning_rate=.*use share="),
        ("rising", "optimizer.learning_rate='rising': write a number"),
    ):
        with pytest.raises(UserError, match=message):
            learning_rate_schedule(wrong, 100, 0)


def test_an_unknown_decay_names_the_known_ones():
    with pytest.raises(UserError, match=r"schedule='step'.*linear, constant, cosine, wsd"):
        learning_rate_schedule(1.0, 10, 0, decay="step")
