"""Declarations of configuration fields: type, default, allowed values, unit, one line of meaning,
and the value that an older run without the field stands for.

Groups of fields are frozen dataclasses whose attributes are made by `field`. `read` checks the
nested mappings of a configuration and turns them into groups, `rows` lists their fields,
`absent_values` gives the values of fields that a configuration predates.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, Union

from electra_jax.errors import UserError, nearest

Group = TypeVar("Group")
_KEY = "electra_jax.config.fields"


class _Declared(NamedTuple):
    """What `field` adds to a dataclass field."""

    meaning: str
    choices: tuple[Any, ...] = ()
    unit: str = ""
    when_absent: Any = dataclasses.MISSING  # the field is as old as its group
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None

    @property
    def limits(self) -> str:
        """Such as `at least 0 and below 1`; empty without limits."""
        bounds = (
            ("at least", self.minimum),
            ("above", self.above),
            ("at most", self.maximum),
            ("below", self.below),
        )
        return " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)

    def holds(self, value: float) -> bool:
        """Whether a number is within the limits."""
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
            and (self.below is None or value < self.below)
        )


class Row(NamedTuple):
    """One field in a listing: dotted `key`, its type as text, default, meaning, unit, choices and
    limits (`at least 1`)."""

    key: str
    type: str
    default: Any
    meaning: str
    unit: str
    choices: tuple[Any, ...]
    limits: str = ""


def field(
    default: Any,
    meaning: str,
    *,
    choices: Sequence[Any] = (),
    unit: str = "",
    when_absent: Any = dataclasses.MISSING,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Any:
    """A field of a settings dataclass.

    choices: the allowed values (and None, where the type has it).
    minimum, above, maximum, below: limits of a number.
    when_absent: the value that reproduces the behaviour before the field existed; a resumed run or
        a model folder without the key gets it. Required of every field that is added to a group
        later; it can differ from `default`.
    """
    declared = _Declared(meaning, tuple(choices), unit, when_absent, minimum, above, maximum, below)
    return _field(default, declared)


def field_like(cls: type, name: str, default: Any) -> Any:
    """The field `name` of another group, declared again with another default."""
    (found,) = (f for f in dataclasses.fields(cls) if f.name == name)
    return _field(default, _declared(found))


def _field(default: Any, declared: _Declared) -> Any:
    kwargs: dict[str, Any] = {"metadata": {_KEY: declared}}
    if callable(default):
        return dataclasses.field(default_factory=default, **kwargs)
    return dataclasses.field(default=default, **kwargs)


def group_from(
    cls: type, name: str, *, without: Sequence[str] = (), more: Sequence[tuple[str, Any, Any]] = ()
) -> type:
    """A group with the fields of `cls` but those `without`, and `more`: (name, type, field)."""
    hints = typing.get_type_hints(cls)
    kept = [
        (f.name, hints[f.name], _field(default_of(f), _declared(f)))
        for f in dataclasses.fields(cls)
        if f.name not in without
    ]
    return dataclasses.make_dataclass(name, [*kept, *more], frozen=True)


def read(
    cls: type[Group], values: Mapping[str, Any], where: str, *, complete: bool = False
) -> Group:
    """The group `cls` from a mapping; `where` is its dotted name in the configuration
    (`train`; empty for the whole of it), for messages.

    complete: a missing key is an error, unless the field declares `when_absent`. Otherwise a
        missing key gets its default.
    Raises `UserError` on an unknown key (the nearest and all valid ones are named), a value of
    another type, one that is not among the choices or beyond the limits, or a missing key.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    valid = f"valid{where and f' in {where}'}: {', '.join(known) or 'none'}"
    for key in values:
        if key not in known:
            near = nearest(str(key), known)
            hint = f"did you mean {_join(where, near[0])}? " if near else ""
            raise UserError(f"{_join(where, key)}: no such field; {hint}{valid}")
    if complete:
        old = {n: _declared(f).when_absent for n, f in known.items() if n not in values}
        for name, value in old.items():
            if value is dataclasses.MISSING:
                raise UserError(
                    f"{_join(where, name)} is missing: give every field, as the configurations "
                    f"that ship with the package do; {valid}"
                )
        values = {**old, **values}
    hints = typing.get_type_hints(cls)
    found = {
        name: _checked(hints[name], known[name], value, _join(where, name), complete)
        for name, value in values.items()
    }
    return cls(**found)


def scheduled(cls: type) -> tuple[str, ...]:
    """Names of the fields whose type includes `Schedule`."""
    hints = typing.get_type_hints(cls)
    return tuple(
        f.name
        for f in dataclasses.fields(cls)
        if any(getattr(one, "__name__", "") == "Schedule" for one in _alternatives(hints[f.name]))
    )


def check(group: Any, where: str) -> None:
    """Raises `UserError` where a field of a group is beyond its choices or limits, for groups
    that were made without `read`."""
    for f in dataclasses.fields(group):
        check_value(f, getattr(group, f.name), _join(where, f.name))


def check_value(f: dataclasses.Field[Any], value: Any, key: str) -> None:
    """Raises `UserError` where a value is not among the field's choices or beyond its limits."""
    declared = _declared(f)
    if value is None:
        return
    if declared.choices and value not in declared.choices:
        raise UserError(f"{key}={value!r}: choose one of {', '.join(map(str, declared.choices))}")
    if isinstance(value, float) and math.isnan(value):
        raise UserError(f"{key} is not a number")
    if isinstance(value, int | float) and declared.limits and not declared.holds(value):
        negative = isinstance(value, float) and declared.limits == "at least 0"
        rule = "must not be negative" if negative else f"must be {declared.limits}"
        raise UserError(f"{key}={value}: {rule}")


def rows(cls: type, where: str = "", values: Mapping[str, Any] | None = None) -> Iterator[Row]:
    """Every field of a group and of the groups in it; `values` replace the defaults."""
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        key = _join(where, f.name)
        hint, declared = hints[f.name], _declared(f)
        given = None if values is None else values.get(f.name, default_of(f))
        if dataclasses.is_dataclass(hint):
            yield from rows(typing.cast(type, hint), key, given)
            continue
        default = default_of(f) if values is None else given
        about = declared.meaning, declared.unit, declared.choices, declared.limits
        yield Row(key, _name(hint), default, *about)


def absent_values(cls: type, where: str = "") -> dict[str, Any]:
    """{dotted key: `when_absent`} of the fields that declare it, optional groups included."""
    hints = typing.get_type_hints(cls)
    found: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        key = _join(where, f.name)
        if _declared(f).when_absent is not dataclasses.MISSING:
            found[key] = _declared(f).when_absent
            continue
        for inner in _alternatives(hints[f.name]):
            if dataclasses.is_dataclass(inner):
                found |= absent_values(typing.cast(type, inner), key)
    return found


def type_of(hint: Any) -> type:
    """The first type of a field's values besides None; `object` where any will do, or a word stands
    beside another type."""
    if takes_words(hint):
        return object
    plain = [typing.get_origin(one) or one for one in _alternatives(hint)]
    plain = [one for one in plain if one not in (None, type(None))]
    return plain[0] if plain and Any not in plain else object


def takes_words(hint: Any) -> bool:
    """Whether the type includes words, as in `int | Literal["auto"]`."""
    return any(typing.get_origin(one) is typing.Literal for one in _alternatives(hint))


def may_be_none(hint: Any) -> bool:
    """Whether the type includes None."""
    return any(one in (Any, None, type(None)) for one in _alternatives(hint))


def default_of(f: dataclasses.Field[Any]) -> Any:
    """A field's default; None where it has none."""
    if f.default is not dataclasses.MISSING:
        return f.default
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else None


def _join(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)


def _declared(f: dataclasses.Field[Any]) -> _Declared:
    return f.metadata.get(_KEY, _Declared(""))


def _checked(hint: Any, f: dataclasses.Field[Any], value: Any, key: str, complete: bool) -> Any:
    inner = [one for one in _alternatives(hint) if dataclasses.is_dataclass(one)]
    if inner and isinstance(value, Mapping):
        return read(typing.cast(type, inner[0]), value, key, complete=complete)
    if _declared(f).choices:
        check_value(f, value, key)
    if not _fits(hint, value):
        raise UserError(f"{key}={value!r}: must be of type {_name(hint)}")
    check_value(f, value, key)
    return tuple(value) if isinstance(value, list) and _takes_tuple(hint) else value


def _alternatives(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _takes_tuple(hint: Any) -> bool:
    return any((typing.get_origin(one) or one) is tuple for one in _alternatives(hint))


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value has the type; whole numbers serve as floats, lists as tuples."""
    for one in _alternatives(hint):
        plain = typing.get_origin(one) or one
        if plain is Any:
            return True
        if plain is typing.Literal:
            if value in typing.get_args(one):
                return True
            continue
        if plain is type(None) or one is None:
            if value is None:
                return True
        elif plain is bool or isinstance(value, bool):
            if plain is bool and isinstance(value, bool):
                return True
        elif plain is float:
            if isinstance(value, int | float):
                return True
        elif plain is tuple:
            if isinstance(value, list | tuple):
                return True
        elif isinstance(plain, type) and isinstance(value, plain):
            return True
    return False


def _name(hint: Any) -> str:
    return " | ".join(word for one in _alternatives(hint) for word in _names(one))


def _names(one: Any) -> list[str]:
    if typing.get_origin(one) is typing.Literal:
        return [str(word) for word in typing.get_args(one)]
    return ["None" if one is type(None) else getattr(one, "__name__", str(one))]
