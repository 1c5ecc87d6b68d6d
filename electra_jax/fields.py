"""A configuration field is declared once: type, default, allowed values, unit, one line of meaning,
and what its absence from an older run means.

Groups of fields are frozen dataclasses whose attributes are made by `field`. `read` turns the
nested mappings of a configuration into them and refuses what does not fit, `rows` lists them for
people, `absent_values` says what a configuration that predates a field stands for.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, Union

from electra_jax.errors import UserError

Group = TypeVar("Group")
_KEY = "electra_jax.fields"


class _Declared(NamedTuple):
    """What `field` adds to a dataclass field."""

    meaning: str
    choices: tuple[Any, ...]
    unit: str
    when_absent: Any  # dataclasses.MISSING: the field is as old as its group


class Row(NamedTuple):
    """One field for people: dotted `key`, its type as text, default, meaning, unit, choices."""

    key: str
    type: str
    default: Any
    meaning: str
    unit: str
    choices: tuple[Any, ...]


def field(
    default: Any,
    meaning: str,
    *,
    choices: Sequence[Any] = (),
    unit: str = "",
    when_absent: Any = dataclasses.MISSING,
) -> Any:
    """A field of a settings dataclass.

    choices: the allowed values (None is allowed where the type says so).
    when_absent: the value that reproduces what the program did before the field existed; a resumed
        run or a model folder without the key gets it. Required of every field that is added to a
        group later; it may differ from `default`.
    """
    declared = _Declared(meaning, tuple(choices), unit, when_absent)
    kwargs: dict[str, Any] = {"metadata": {_KEY: declared}}
    if callable(default):
        return dataclasses.field(default_factory=default, **kwargs)
    return dataclasses.field(default=default, **kwargs)


def read(cls: type[Group], values: Mapping[str, Any], where: str) -> Group:
    """The group `cls` from a mapping; `where` is its dotted name in the configuration
    (`train`), for messages.

    A missing key gets its default. Raises `UserError` on an unknown key (the nearest and all valid
    ones are named), a value of another type, or one that is not among the choices.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = [key for key in values if key not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.5)
        hint = f"did you mean {where}.{near[0]}? " if near else ""
        valid = ", ".join(known) or "none"
        raise UserError(f"{where}.{unknown[0]}: no such field; {hint}valid in {where}: {valid}")
    hints = typing.get_type_hints(cls)
    found = {
        name: _checked(hints[name], known[name], value, f"{where}.{name}")
        for name, value in values.items()
    }
    return cls(**found)


def scheduled(cls: type) -> tuple[str, ...]:
    """Names of the fields that may hold a `Schedule`."""
    hints = typing.get_type_hints(cls)
    return tuple(
        f.name
        for f in dataclasses.fields(cls)
        if any(getattr(one, "__name__", "") == "Schedule" for one in _alternatives(hints[f.name]))
    )


def rows(cls: type, where: str = "", values: Mapping[str, Any] | None = None) -> Iterator[Row]:
    """Every field of a group and of the groups in it; with `values`, those in place of defaults."""
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        key = f"{where}.{f.name}" if where else f.name
        hint, declared = hints[f.name], _declared(f)
        given = None if values is None else values.get(f.name, default_of(f))
        if dataclasses.is_dataclass(hint):
            yield from rows(typing.cast(type, hint), key, given)
            continue
        default = default_of(f) if values is None else given
        yield Row(key, _name(hint), default, declared.meaning, declared.unit, declared.choices)


def absent_values(cls: type, where: str = "") -> dict[str, Any]:
    """{dotted key: what its absence means} of the fields that declare it."""
    hints = typing.get_type_hints(cls)
    found: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        key = f"{where}.{f.name}" if where else f.name
        if dataclasses.is_dataclass(hints[f.name]):
            found |= absent_values(typing.cast(type, hints[f.name]), key)
        elif _declared(f).when_absent is not dataclasses.MISSING:
            found[key] = _declared(f).when_absent
    return found


def default_of(f: dataclasses.Field[Any]) -> Any:
    """A field's default; None where it has none."""
    if f.default is not dataclasses.MISSING:
        return f.default
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else None


def _declared(f: dataclasses.Field[Any]) -> _Declared:
    return f.metadata.get(_KEY, _Declared("", (), "", dataclasses.MISSING))


def _checked(hint: Any, f: dataclasses.Field[Any], value: Any, key: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return read(typing.cast(type, hint), value, key)
    choices = _declared(f).choices
    if choices and value is not None and value not in choices:
        raise UserError(f"{key}={value!r}: choose one of {', '.join(map(str, choices))}")
    if not _fits(hint, value):
        raise UserError(f"{key}={value!r}: must be of type {_name(hint)}")
    if isinstance(value, float) and math.isnan(value):
        raise UserError(f"{key} is not a number")
    return tuple(value) if isinstance(value, list) and _takes_tuple(hint) else value


def _alternatives(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _takes_tuple(hint: Any) -> bool:
    return any(typing.get_origin(one) or one is tuple for one in _alternatives(hint))


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value has the type; whole numbers serve as floats, lists as tuples."""
    for one in _alternatives(hint):
        plain = typing.get_origin(one) or one
        if plain is Any:
            return True
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
    parts = [
        "None" if one is type(None) else getattr(one, "__name__", str(one))
        for one in _alternatives(hint)
    ]
    return " | ".join(parts)
