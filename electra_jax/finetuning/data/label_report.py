"""Labels of a file that are missing, or that training has not seen: counted, said, and left out or
scored as missed."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import (
    BadExample,
    ChoiceExample,
    Example,
    TaggedExample,
    TextExample,
)
from electra_jax.finetuning.data.notes import note
from electra_jax.finetuning.data.sources import unknown_label
from electra_jax.finetuning.data.values import Missing, plain_name

log = logging.getLogger(__name__)

MODES = ("skip", "fail", "keep")
_SHOWN = 5  # values in a message
_NOT_NAMED = Missing("none")  # of a choice, whose label is an index


@dataclasses.dataclass
class LabelReport:
    """What one file's labels have been so far: how many there were, which were missing and which
    unseen, and where each was first."""

    path: str
    labels: int = 0
    missing: Counter[str] = dataclasses.field(default_factory=Counter)
    unseen: Counter[str] = dataclasses.field(default_factory=Counter)
    first: dict[str, str] = dataclasses.field(default_factory=dict)

    def count(self, values: Iterable[str], counter: Counter[str], where: str) -> None:
        """Counts missing or unseen values of one place."""
        for value in values:
            counter[value] += 1
            self.first.setdefault(value, where)

    def sentences(self) -> list[str]:
        """A sentence about missing labels, one about unseen ones, as far as there are any."""
        found = []
        if self.missing:
            found.append(
                f"{self.path}: {self.missing.total():,} of {self.labels:,} labels are missing "
                f"({self._listed(self.missing)}); they are left out "
                "(data.missing_labels=keep makes them a class)"
            )
        if self.unseen:
            found.append(
                f"{self.path}: {self.unseen.total():,} of {self.labels:,} labels do not occur in "
                f"training ({self._listed(self.unseen)}); they count as missed"
            )
        return found

    def warn(self) -> None:
        """Logs the sentences."""
        for sentence in self.sentences():
            log.warning("%s", sentence)

    def _listed(self, counter: Counter[str]) -> str:
        shown = [
            f'{count:,} × "{value}", first at {self.first[value]}'
            for value, count in counter.most_common(_SHOWN)
        ]
        return "; ".join(shown) + "; …" * (len(counter) > _SHOWN)


def checked(
    examples: Iterable[Any],
    labels_of: Any,
    report: LabelReport,
    labels: Collection[str] | None,
    strict: bool,
    missing: str,
) -> Iterator[Example]:
    """The examples that have a label; what is left out or unseen goes into `report`.

    Args:
      labels_of: the labels of an example, as its kind finds them.
      labels: the known labels; None: any.
      strict: another label is an error, in place of one that counts as missed.
      missing: "skip", "fail" or "keep" (see `data.missing_labels`).

    Raises:
      UserError: a missing label under "fail", an unknown one with `strict`, no label at all, none
        that is known.
    """
    known = None if labels is None else frozenset(labels)
    # Models of earlier versions have the labels of tables as they were written: "1.0".
    written = {plain_name(name): name for name in known or () if plain_name(name) != name}
    left = 0
    for example in examples:
        if isinstance(example, BadExample):
            yield example
            continue
        found = _missing_values(example)
        if found:
            known_class = {value for value in found if known is not None and value in known}
            if missing == "keep" or known_class:
                classes = known_class if missing != "keep" else set(found)
                example = as_classes(example, classes)
                found = Counter({v: n for v, n in found.items() if v not in classes})
                if not found and not labels_of(example):  # of a kind whose labels are no names
                    raise _no_label(example.where, next(iter(classes)))
        report.labels += len(found)
        if found and missing == "fail":
            raise _no_label(example.where, next(iter(found)))
        report.count(found.elements(), report.missing, example.where)
        if found and not isinstance(example, TaggedExample):
            continue
        names = labels_of(example)
        if written and isinstance(example, TextExample) and not {*names} <= (known or names):
            renamed = [n if n in (known or ()) else written.get(n, n) for n in names]
            label = tuple(renamed) if isinstance(example.label, tuple) else renamed[0]
            example, names = dataclasses.replace(example, label=label), renamed
        report.labels += len(names)
        if known is not None:
            unseen = [name for name in names if name not in known]
            if unseen and strict:
                raise unknown_label(example.where, unseen[0], known)
            report.count(unseen, report.unseen, example.where)
        left += 1
        yield example
    if report.missing and not left:
        value, where = next(iter(report.missing)), report.first[next(iter(report.missing))]
        raise UserError(
            f"{report.path}: none of its labels is one (the first, at {where}, is "
            f'"{value}"); name the right column with data.columns.label, or take the labels as '
            "they are with data.missing_labels=keep"
        )
    if report.unseen and report.unseen.total() + report.missing.total() == report.labels:
        value = next(iter(report.unseen))
        raise unknown_label(report.first[value], value, known or ())


def _missing_values(example: Any) -> Counter[str]:
    if isinstance(example, TextExample):
        values = [example.label] if isinstance(example.label, Missing) else []
    elif isinstance(example, TaggedExample):
        values = [tag for tag in example.tags or () if isinstance(tag, Missing)]
    elif isinstance(example, ChoiceExample) and example.label is None:
        values = [_NOT_NAMED]
    else:
        values = []
    return Counter(map(str, values))


def as_classes(example: Any, values: Collection[str]) -> Any:
    """The example with those missing labels as names like any other. Raises `UserError` where a
    value is no name (null, nothing)."""
    for value in values:
        if value in ("", "null", _NOT_NAMED):
            raise _no_label(example.where, value)
    if isinstance(example, TaggedExample):
        tags = tuple(str(t) if t in values else t for t in example.tags or ())
        return dataclasses.replace(example, tags=tags)
    return dataclasses.replace(example, label=str(example.label)) if values else example


def _no_label(where: str, value: str) -> UserError:
    return UserError(
        f'{where} has no label: "{value}"; give it one, or leave out such lines with '
        "data.missing_labels=skip (data to predict needs no labels)"
    )


def minus_one_is_a_class(names: Collection[str], path: str) -> bool:
    """Whether -1 is one of the labels: where the others are integers and not 0, 1, …, as in -1
    and 1."""
    try:
        numbers = sorted(map(int, names))
    except ValueError:
        return False
    if not numbers or numbers == list(range(len(numbers))):
        return False
    note(f"{path}: the label -1 is read as a class, beside {', '.join(map(str, numbers[:10]))}")
    return True


def resolve_missing(
    examples: Sequence[Any], labels_of: Any, path: str, missing: str
) -> list[Example]:
    """All examples of a training file, `Missing` labels among them, without those that are left
    out. What is left out is logged. Raises `UserError` as `checked` does."""
    values: Counter[str] = Counter()
    for example in examples:
        values.update(_missing_values(example))
    classes: set[str] = set()
    if missing != "keep" and "-1" in values:
        names = {name for e in examples for name in labels_of(e) if not isinstance(name, Missing)}
        classes = {"-1"} if minus_one_is_a_class(names, path) else set()
    report = LabelReport(path)
    kept = [as_classes(e, classes & _missing_values(e).keys()) if classes else e for e in examples]
    found = list(checked(kept, labels_of, report, None, False, missing))
    report.warn()
    return found
