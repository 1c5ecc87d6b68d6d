"""Configuration fields: what is read, refused, listed, and what an absent one means."""

import dataclasses

import pytest

from electra_jax.errors import UserError
from electra_jax.fields import absent_values, field, read, rows


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
