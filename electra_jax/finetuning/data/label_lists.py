"""The labels of a text that may have several: lists, names between separators, vectors and columns
of 0 and 1."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import BadExample, TextExample
from electra_jax.finetuning.data.notes import note
from electra_jax.finetuning.data.sources import Source, label_name, value_of
from electra_jax.finetuning.data.values import Missing, bit_of, list_of, missing_label

SEPARATORS = "|;,"


class Bits(tuple[str, ...]):
    """Labels that may be an indicator vector, which the rest of the file decides.

    As a tuple it has the names "0" and "1" as far as they are in the list; `vector` holds what was
    there, with None for -1 and the like.
    """

    vector: tuple[bool | None, ...]


def labels_of_value(value: Any, source: Source, where: str) -> tuple[str, ...] | Missing:
    """The names in a list, or between commas, "|" or ";" (one of these in a file)."""
    if isinstance(value, str):
        value = list_of(value, "labels", where, bare=True)
    if isinstance(value, str):
        return _separated(value, source, where)
    if (missing := missing_label(value)) is not None:
        return missing
    if not isinstance(value, list):
        raise UserError(
            f"{where}: labels must be a list of names, or names between commas; it holds "
            f"{json.dumps(value, ensure_ascii=False)[:60]}"
        )
    return _bits(value) or _names(value, source, where)


def _bits(values: list[Any]) -> Bits | Missing | None:
    """The values as `Bits`; None where they are no list of 0, 1 and missing values."""
    bits = [None if missing_label(v) is not None else bit_of(v) for v in values]
    missing = [missing_label(v) for v in values]
    if not values or any(b is None and m is None for b, m in zip(bits, missing, strict=True)):
        return None
    if missing[0] is not None and all(b is None for b in bits):
        return missing[0] or Missing("null")
    found = Bits(dict.fromkeys("01"[b] for b in bits if b is not None))
    found.vector = tuple(bits)
    return found


def _names(values: list[Any], source: Source, where: str) -> tuple[str, ...]:
    names = dict.fromkeys(label_name(value, source, where) for value in values)
    padding = [name for name in names if isinstance(name, Missing)]
    if padding and not source.padded:
        source.padded = True
        note(f'{where}: "{padding[0]}" within a list of labels is left out, there and below')
    return tuple(name for name in names if not isinstance(name, Missing))


def _separated(value: str, source: Source, where: str) -> tuple[str, ...] | Missing:
    used = [s for s in SEPARATORS if s in value]
    if len(used) > 1:
        raise UserError(
            f"{where}: labels hold {json.dumps(value, ensure_ascii=False)[:60]}, with "
            f'{" and ".join(used)} between them; use one of these, or a list: ["a", "b"]'
        )
    if used:
        first = source.separator or (used[0], where)
        source.separator = first
        if first[0] != used[0]:
            raise UserError(
                f"{where}: labels are separated by {used[0]}, at {first[1]} by {first[0]}; use one "
                'of these, or a list: ["a", "b"]'
            )
    names = [name for part in value.split(used[0] if used else ",") if (name := part.strip())]
    if len(names) == 1:  # "0 1 0" is a vector too
        names = names[0].split() if _bits(names[0].split()) else names
        if len(names) == 1 and (missing := missing_label(names[0])) is not None:
            return missing
    return (len(names) > 1 and _bits(names)) or _names(names, source, where)


def labels_of_columns(
    names: Iterable[str], source: Source, where: str, record: Mapping[str, Any]
) -> tuple[str, ...] | Missing:
    """The names of the columns that hold 1; each holds 0 or 1."""
    found: list[str] = []
    missing: Missing | None = None
    for name in names:
        value = value_of(dict(record), name, "label", where)
        bit = bit_of(value)
        if bit is None and (none := missing_label(value)) is not None:
            missing = none
        elif bit is None:
            raise UserError(
                f'{where}: column "{name}" holds {json.dumps(value, ensure_ascii=False)[:60]}; a '
                "column for one of several labels holds 0 or 1"
            )
        elif bit:
            found.append(name)
    return tuple(found) if missing is None else missing


def columns_of_bits(record: Mapping[str, Any]) -> list[str]:
    """The columns that may be labels: those that hold 0 or 1."""
    return [name for name, value in record.items() if bit_of(value) is not None]


def resolved(examples: Iterable[Any], path: str, lenient: bool = False) -> Iterator[Any]:
    """The examples of a file, whose lists of 0 and 1 (`Bits`) are found to be indicator vectors or
    names.

    They are vectors where all lists have one length and some repeat a value, which names do not.
    Until that is known, examples are held back.

    Args:
      lenient: a list that does not go with those before it becomes a `BadExample`.

    Raises:
      UserError: such a list, where it is not `lenient`.
    """
    waiting: list[Any] = []
    first: tuple[str, int] | None = None
    iterator = iter(examples)
    vectors = False
    for example in iterator:
        waiting.append(example)
        label = getattr(example, "label", None)
        if isinstance(label, Missing) or not isinstance(label, tuple):
            continue
        if not isinstance(label, Bits) or len(label.vector) < 2:
            break
        first = first or (example.where, len(label.vector))
        if len(label.vector) != first[1]:
            break
        if len(label.vector) > len(label):
            vectors = True
            break
    else:
        vectors = first is not None
    if vectors:
        assert first is not None
        note(
            f"{path}: labels are vectors of 0 and 1, read as {first[1]} labels with the names 0 to "
            f"{first[1] - 1}"
        )
    for example in itertools.chain(waiting, iterator):
        try:
            example = _as_vector(example, first) if vectors and first else _as_names(example)
        except UserError as error:
            if not lenient:
                raise
            example = BadExample(example.where, example.id, error)
        yield example


def _as_vector(example: Any, first: tuple[str, int]) -> Any:
    label = getattr(example, "label", None)
    if isinstance(label, Missing) or not isinstance(label, tuple):
        return example
    where, length = first
    if not isinstance(label, Bits) or len(label.vector) != length:
        raise UserError(
            f"{example.where}: labels are no vector of {length} times 0 or 1, as they are at "
            f"{where}; write all lines in one way (names as strings)"
        )
    if None in label.vector:
        return _with_label(example, Missing("-1"))
    return _with_label(example, tuple(str(i) for i, bit in enumerate(label.vector) if bit))


def _as_names(example: Any) -> Any:
    label = getattr(example, "label", None)
    if not isinstance(label, Bits):
        return example
    if len(label.vector) > 2 or len(label.vector) > len(label):
        raise UserError(
            f"{example.where}: labels look like a vector of 0 and 1, and those before it do not; "
            "write all lines in one way (names as strings)"
        )
    return _with_label(example, tuple(label))


def _with_label(example: TextExample, label: Any) -> TextExample:
    return TextExample(example.where, example.id, example.texts, label)
