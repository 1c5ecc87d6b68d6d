"""Configuration fields: what is read, refused, listed, and what an absent one means."""

import dataclasses
from typing import Any

import pytest

from electra_jax.config.fields import (
    absent_values,
    check,
    field,
    field_like,
    group_from,
    may_be_none,
    read,
    rows,
    type_of,
)
from electra_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Inner:
    beta: float = field(0.9, "decay of the first moment")


@dataclasses.dataclass(frozen=True)
class Outer:
    rate: float = field(0.1, "share of masked tokens", unit="share", when_absent=0.15)
    name: str = field("a", "which", choices=("a", "b"))
    patterns: tuple[str, ...] = field((), "regular expressions")
    steps: int | None = field(None, "length of the run", unit="steps")
    on: bool = field(False, "whether")
    inner: Inner = field(Inner, "the moments")


def test_given_values_are_read_and_missing_ones_are_defaults():
    found = read(Outer, {"rate": 1, "patterns": ["x"], "inner": {"beta": 0.8}}, "g")
    assert found == Outer(rate=1, patterns=("x",), inner=Inner(0.8))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rat": 1.0}, "g.rat: no such field; did you mean g.rate"),
        ({"name": "c"}, "choose one of a, b"),
        ({"rate": "high"}, "must be of type float"),
        ({"steps": True}, "must be of type int | None"),
        ({"on": 1}, "must be of type bool"),
        ({"rate": float("nan")}, "not a number"),
        ({"inner": {"alpha": 1}}, "g.inner.alpha: no such field"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(values, message):
    with pytest.raises(UserError) as error:
        read(Outer, values, "g")
    assert message in str(error.value)


def test_rows_list_every_field_with_the_given_values():
    listed = {row.key: row for row in rows(Outer, "g", {"rate": 0.3, "inner": {"beta": 0.5}})}
    assert list(listed) == ["g.rate", "g.name", "g.patterns", "g.steps", "g.on", "g.inner.beta"]
    assert listed["g.rate"].default == 0.3 and listed["g.inner.beta"].default == 0.5
    assert listed["g.name"].choices == ("a", "b") and listed["g.steps"].unit == "steps"
    assert listed["g.steps"].type == "int | None"


def test_only_fields_that_declare_it_have_a_value_when_absent():
    assert absent_values(Outer, "g") == {"g.rate": 0.15}


def test_the_meaning_of_absence_may_be_none():
    @dataclasses.dataclass(frozen=True)
    class Later:
        cap: float | None = field(1.0, "limit", when_absent=None)

    assert absent_values(Later, "h") == {"h.cap": None}


@dataclasses.dataclass(frozen=True)
class Limited:
    rate: float = field(0.5, "rate", minimum=0)
    share: float | None = field(0.5, "share", above=0, below=1)
    count: int = field(1, "count", minimum=0, maximum=5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": -0.1}, r"g\.rate=-0\.1: must not be negative"),
        ({"share": 0.0}, r"g\.share=0\.0: must be above 0 and below 1"),
        ({"share": 1.0}, r"g\.share=1\.0: must be above 0 and below 1"),
        ({"count": -1}, r"g\.count=-1: must be at least 0 and at most 5"),
        ({"count": 6}, r"g\.count=6: must be at least 0 and at most 5"),
    ],
)
def test_numbers_beyond_their_limits_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        read(Limited, values, "g")
    with pytest.raises(UserError, match=message):
        check(Limited(**values), "g")


def test_numbers_at_their_limits_and_none_are_read():
    assert read(Limited, {"rate": 0, "share": None, "count": 5}, "g") == Limited(0, None, 5)
    assert {row.key: row.limits for row in rows(Limited)} == {
        "rate": "at least 0",
        "share": "above 0 and below 1",
        "count": "at least 0 and at most 5",
    }


def test_a_complete_mapping_lacks_only_what_says_what_its_absence_means():
    whole = {"name": "b", "patterns": (), "steps": 3, "on": True, "inner": {"beta": 0.5}}
    found = read(Outer, whole, "", complete=True)
    assert found == Outer(0.15, "b", (), 3, True, Inner(0.5))
    with pytest.raises(UserError, match=r"^inner\.beta is missing: .*valid in inner: beta"):
        read(Outer, {**whole, "inner": {}}, "", complete=True)
    with pytest.raises(UserError, match=r"^stepz: no such field; did you mean steps\? valid: rate"):
        read(Outer, {**whole, "stepz": 1}, "", complete=True)


def test_a_group_that_may_be_none_is_read_where_it_is_there():
    @dataclasses.dataclass(frozen=True)
    class Maybe:
        inner: Inner | None = field(None, "the moments")

    assert read(Maybe, {"inner": {"beta": 0.1}}, "g") == Maybe(Inner(0.1))
    assert read(Maybe, {"inner": None}, "g") == Maybe(None)
    with pytest.raises(UserError, match=r"g\.inner=3: must be of type"):
        read(Maybe, {"inner": 3}, "g")


def test_a_field_like_another_keeps_all_but_its_default():
    @dataclasses.dataclass(frozen=True)
    class Other(Limited):
        count: int = field_like(Limited, "count", 3)

    assert Other().count == 3
    with pytest.raises(UserError, match="at most 5"):
        read(Other, {"count": 6}, "g")


def test_a_group_from_another_has_fewer_and_further_fields():
    group = group_from(Outer, "Group", without=("rate", "inner"), more=[("x", int, field(1, "x"))])
    assert [row.key for row in rows(group)] == ["name", "patterns", "steps", "on", "x"]
    with pytest.raises(UserError, match="choose one of a, b"):
        read(group, {"name": "c"}, "g")


def test_the_type_of_a_field_besides_none():
    assert type_of(int | None) is int and type_of(tuple[str, ...] | None) is tuple
    assert type_of(float | str | None) is float and type_of(Any) is object
    assert may_be_none(int | None) and may_be_none(Any) and not may_be_none(int)
