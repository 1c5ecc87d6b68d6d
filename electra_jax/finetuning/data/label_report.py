"""Labels of a file that are missing, or that training has not seen: counted, said, and left out or
scored as missed."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import BadExample, Example
from electra_jax.finetuning.data.notes import note
from electra_jax.finetuning.data.sources import unknown_label
from electra_jax.finetuning.data.values import Missing, plain_name

log = logging.getLogger(__name__)

_SHOWN = 5  # values in a message
_NO_NAMES = ("", "null", "none")  # missing labels that cannot be a class


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
        found = Counter(example.missing_labels())
        if found:
            known_class = {value for value in found if known is not None and value in known}
            if missing == "keep" or known_class:
                classes = known_class if missing != "keep" else set(found)
                example = _as_classes(example, classes)
                found = Counter({v: n for v, n in found.items() if v not in classes})
                if not found and not labels_of(example):  # of a kind whose labels are no names
                    raise _no_label(example.where, next(iter(classes)))
        report.labels += found.total()
        if found and missing == "fail":
            raise _no_label(example.where, next(iter(found)))
        report.count(found.elements(), report.missing, example.where)
        if found and example.is_whole:
            continue
        names = labels_of(example)
        if any(name in written for name in names):
            new = {n: written[n] for n in names if n in written and n not in (known or ())}
            example = example.renamed(new)
            names = labels_of(example)
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


def _as_classes(example: Example, values: Collection[str]) -> Example:
    for value in values:
        if value in _NO_NAMES:
            raise _no_label(example.where, value)
    return example.as_classes(values)


def _no_label(where: str, value: str) -> UserError:
    return UserError(
        f'{where} has no label: "{value}"; give it one, or leave out such lines with '
        "data.missing_labels=skip (data to predict needs no labels)"
    )


def minus_one_is_a_class(names: Collection[str], path: str) -> bool:
    """Whether -1 is one of the labels: where another is a negative integer too, or 1 is the only
    other one."""
    is_class = names == {"1"} or any(re.fullmatch(r"-\d+", name) for name in names)
    if is_class:
        note(f"{path}: the label -1 is read as a class, beside {', '.join(sorted(names)[:10])}")
    return is_class


def resolve_missing(
    examples: Sequence[Any], labels_of: Any, path: str, missing: str
) -> list[Example]:
    """All examples of a training file, `Missing` labels among them, without those that are left
    out. What is left out is logged. Raises `UserError` as `checked` does."""
    values: Counter[str] = Counter()
    for example in examples:
        values.update(example.missing_labels())
    classes: set[str] = set()
    if missing != "keep" and "-1" in values:
        names = {name for e in examples for name in labels_of(e) if not isinstance(name, Missing)}
        classes = {"-1"} if minus_one_is_a_class(names, path) else set()
    report = LabelReport(path)
    if classes:
        examples = [e.as_classes(classes.intersection(e.missing_labels())) for e in examples]
    found = list(checked(examples, labels_of, report, None, False, missing))
    report.warn()
    return found
