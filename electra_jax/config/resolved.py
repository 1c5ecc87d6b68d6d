"""A resolved configuration with the set of fields that its user gave, and the values of fields that
an older run's file lacks."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from electra_jax.config.fields import absent_values, rows
from electra_jax.errors import UserError


class Config(dict[str, Any]):
    """A resolved configuration: nested dicts, and which of their fields the user gave.

    `given` are dotted keys (`train.steps`); fields that are assigned in the dicts later count
    as given too.
    """

    def __init__(self, values: Mapping[str, Any], given: Iterable[str] = ()) -> None:
        super().__init__(copy.deepcopy(dict(values)))
        self._given = frozenset(given)
        self._loaded = flatten_config(self)

    def given(self) -> frozenset[str]:
        """Dotted keys of the fields that the user gave."""
        now = flatten_config(self)
        changed = {k for k in now.keys() | self._loaded.keys() if not _same(now, self._loaded, k)}
        return self._given | changed

    def replace(self, values: Mapping[str, Any], *, given: bool = True) -> Config:
        """A copy with other values at some dotted keys; they count as given if `given`.

        Raises `UserError` where there is no such group.
        """
        found = Config(self, self.given() | set(values) if given else self.given() - set(values))
        for key, value in values.items():
            *parents, name = key.split(".")
            node: Any = found
            for parent in parents:
                node = node.get(parent) if isinstance(node, dict) else None
            if not isinstance(node, dict):
                raise UserError(f"{key}: there is no group {'.'.join(parents)}")
            node[name] = value
        return Config(found, found._given)


def as_config(config: Mapping[str, Any], settings: type) -> Config:
    """`config` as a `Config`, completed with the `when_absent` values. In plain dicts, the fields
    that differ from the defaults of `settings` count as given."""
    absent = absent_values(settings)
    if isinstance(config, Config):
        missing = lacking(config, absent)
        return Config(filled_in(config, absent), config.given() - set(missing))
    defaults = {row.key: row.default for row in rows(settings)}
    values = flatten_config(config)
    given = {k for k in values if k in defaults and not _same(values, defaults, k)}
    return Config(filled_in(config, absent), given)


def going_on(config: Config, old: Mapping[str, Any], absent: Mapping[str, Any]) -> Config:
    """`config` for resuming a run whose file is `old`: fields that the file lacks, and that the
    user did not give, get the value that changes nothing.

    absent: {dotted key: that value}, of every field that is newer than its group.
    """
    given = config.given()
    values = {k: v for k, v in lacking(old, absent).items() if not _touched(k, given)}
    return config.replace(values, given=False)


def lacking(config: Mapping[str, Any], absent: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `absent` whose keys are not in `config`. A group that is None lacks nothing."""
    found = {}
    for key, value in absent.items():
        node: Any = config
        for part in key.split("."):
            if not isinstance(node, Mapping):
                break
            if part not in node:
                found[key] = value
                break
            node = node[part]
    return found


def filled_in(config: Mapping[str, Any], absent: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `config` with the missing keys of `absent`."""
    found = copy.deepcopy(dict(config))
    for key, value in lacking(config, absent).items():
        *parents, name = key.split(".")
        node = found
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = copy.deepcopy(value)
    return found


def flatten_config(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{dotted key: value}; lists and empty mappings count as values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten_config(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _touched(key: str, keys: Iterable[str]) -> bool:
    """Whether a field, or a part of its value, is among dotted keys."""
    return any(one == key or one.startswith(f"{key}.") for one in keys)


def _same(a: Mapping[str, Any], b: Mapping[str, Any], key: str) -> bool:
    """1 == 1.0 == True in Python: compare what config.json would show."""
    return (key in a) == (key in b) and json.dumps(a.get(key), default=str) == json.dumps(
        b.get(key), default=str
    )
