"""Schedules: closed forms, text, and what a plain number compiles to."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config.schedule import Schedule, final_value, value_at
from electra_jax.errors import UserError


def values(text: str, steps: list[int], total: int = 100, tokens: float | None = None) -> list:
    schedule = Schedule.parse(text).over(total, tokens)
    return [float(schedule.at(jnp.int32(step))) for step in steps]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linear(0.3, 0.15)", lambda p: 0.3 - 0.15 * p),
        ("linear(0, 1)", lambda p: p),
        ("cosine(1e-3, 1e-5)", lambda p: 1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + math.cos(math.pi * p))),
        ("exponential(2.0, 1.0)", lambda p: 2.0 ** (1 - p)),
        ("exponential(1, 8)", lambda p: 8.0**p),
        ("step(3, 5, share=1)", lambda p: 3.0 if p < 1 else 5.0),
        ("constant(0.25)", lambda p: 0.25),
    ],
)
def test_closed_forms(text, expected):
    steps = [0, 1, 25, 50, 99, 100, 150]
    found = values(text, steps)
    np.testing.assert_allclose(found, [expected(min(1, s / 100)) for s in steps], rtol=1e-5)


def test_a_share_of_the_run_and_then_the_final_value():
    assert values("linear(4, 2, share=0.5)", [0, 25, 50, 80]) == [4, 3, 2, 2]
    assert values("step(3, 5, share=0.2)", [0, 19, 20, 100]) == [3, 3, 5, 5]
    assert Schedule.parse("linear(1, 2, share=0.333)").over(10).steps == 3


def test_tokens_count_whole_steps():
    schedule = Schedule.parse("linear(4, 2, tokens=1000)").over(10_000, 128)
    assert schedule.steps == math.ceil(1000 / 128)
    assert values("step(3, 5, tokens=1e3)", [9, 10], tokens=100) == [3, 5]
    with pytest.raises(UserError, match=r"objective\.x=.*tokens are not counted here: use share="):
        Schedule.parse("linear(4, 2, tokens=1000)").over(10, None, "objective.x")


def test_nothing_left_of_the_run_is_the_final_value():
    assert Schedule.parse("linear(4, 2, share=0.01)").over(10).at(0) == 2.0


@pytest.mark.parametrize("value", [0.15, "0.15", "constant(0.15)", 3, Schedule.parse(0.5)])
def test_a_constant_is_a_python_number_at_every_step(value):
    schedule = Schedule.parse(value).over(10)
    assert schedule.is_constant and isinstance(schedule.at(jnp.int32(3)), float)
    assert schedule.maximum == schedule.minimum == final_value(value) == schedule.at(0)


def test_a_constant_compiles_to_the_program_of_the_number():
    def program(rate):
        return jax.jit(lambda x, step: x * value_at(rate, step)).lower(1.0, 0).as_text()

    assert program(0.15) == program(Schedule.parse("0.15")) == program(Schedule.parse(0.15))
    changing = Schedule.parse("linear(0.3, 0.15)").over(10)
    assert program(0.15) != program(changing)


def test_sizes_and_final_value():
    for text, largest in (("linear(0.3, 0.15)", 0.3), ("exponential(1, 2)", 2.0)):
        schedule = Schedule.parse(text)
        assert schedule.maximum == largest
        seen = values(text, list(range(101)))
        assert schedule.minimum - 1e-6 <= min(seen) and max(seen) <= largest + 1e-6
    assert final_value("linear(0.3, 0.15)") == 0.15


@pytest.mark.parametrize(
    "text", ["linear(0.3, 0.15)", "cosine(1, 2, share=0.5)", "step(1, 2, tokens=1e+08)"]
)
def test_text_there_and_back(text):
    assert Schedule.parse(str(Schedule.parse(text))) == Schedule.parse(text)
    assert str(Schedule.parse(text)) == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("lin(1, 2)", r"a\.b='lin\(1, 2\)': write a number, linear"),
        ("linear(1)", r"linear takes 2 value"),
        ("linear(1, 2, 3)", r"linear takes 2 value"),
        ("constant(1, 2)", r"constant takes 1 value"),
        ("linear(1, x)", r"'x' is no number"),
        ("linear(1, nan)", r"'nan' is no number"),
        ("linear(1, 2, part=0.5)", r"no option 'part'"),
        ("linear(share=0.5, 1, 2)", r"values come before share="),
        ("linear(1, 2, share=0.5, tokens=5)", r"keep one of share= and tokens="),
        ("linear(1, 2, share=1.5)", r"share must be above 0 and at most 1"),
        ("linear(1, 2, tokens=0)", r"tokens must be positive"),
        ("step(1, 2)", r"give the point of the step: share= or tokens="),
        ("exponential(0, 1)", r"exponential needs positive values"),
        (float("nan"), r"must be finite"),
        (True, r"write a number"),
        (None, r"write a number"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_field(value, message):
    with pytest.raises(UserError, match=message):
        Schedule.parse(value, "a.b")


def test_a_schedule_that_does_not_know_its_run_is_not_evaluated():
    with pytest.raises(ValueError, match="the length of the run first"):
        Schedule.parse("linear(1, 2)").at(0)
