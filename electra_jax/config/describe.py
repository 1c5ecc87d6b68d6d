"""The fields of a configuration as text and JSON: value, default, type, unit and meaning."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.config.fields import rows

_WIDTH = 100


class Described(NamedTuple):
    """One field: dotted `key`, its `value` and `default`, whether they differ, whether the user
    gave the value, type and allowed values as text, unit and meaning.
    """

    key: str
    value: Any
    default: Any
    differs: bool
    given: bool
    type: str
    allowed: str
    unit: str
    meaning: str


def describe(
    settings: type, config: Mapping[str, Any], given: Iterable[str] = ()
) -> list[Described]:
    """Every field of a group, with its value in a resolved configuration."""
    given_keys, found = set(given), []
    for row, default in zip(rows(settings, "", config), rows(settings), strict=True):
        allowed = " | ".join(map(str, row.choices)) or row.limits
        differs = row.default != default.default
        is_given = any(k == row.key or k.startswith(f"{row.key}.") for k in given_keys)
        found.append(
            Described(
                row.key,
                row.default,
                default.default,
                differs,
                is_given,
                row.type,
                allowed,
                row.unit,
                row.meaning,
            )
        )
    return found


def as_json(described: Sequence[Described]) -> list[dict[str, Any]]:
    """Objects for `json.dumps`, one a field."""
    return [row._asdict() for row in described]


def as_text(described: Sequence[Described], title: str) -> str:
    """Groups of fields, two lines or more each, at most 100 columns wide."""
    differing = sum(row.differs for row in described)
    lines = [f"{title}: {len(described)} fields; * marks {differing} that differ from the default"]
    group = ""
    for row in described:
        parent, _, name = row.key.rpartition(".")
        if parent != group or len(lines) == 1:
            group = parent
            lines += ["", f"{parent or '(top)'}"]
        lines += _field(row, name)
    return "\n".join(lines)


def _field(row: Described, name: str) -> list[str]:
    default = f"   (default: {_text(row.default)})" if row.differs else ""
    head = f"{'*' if row.differs else ' '}   {name} = {_text(row.value)}{default}"
    kind = row.allowed if " | " in row.allowed else ", ".join(filter(None, [row.type, row.allowed]))
    unit = f"; {row.unit}" if row.unit else ""
    return [
        *_wrapped(head, "", " " * 12),
        *_wrapped(f"{row.meaning} [{kind}{unit}]", " " * 8, " " * 8),
    ]


def _wrapped(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False
    )


def _text(value: Any) -> str:
    return "{}" if isinstance(value, Mapping) and not value else repr(value)
