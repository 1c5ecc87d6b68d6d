"""The table of kinds, and kinds in users' own files."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from electra_jax.errors import UserError
from electra_jax.finetuning.kinds.base import Kind, Padding
from electra_jax.finetuning.kinds.classification import Classification
from electra_jax.finetuning.kinds.multilabel import Multilabel
from electra_jax.finetuning.kinds.multiple_choice import MultipleChoice, Ranking
from electra_jax.finetuning.kinds.question_answering import QuestionAnswering
from electra_jax.finetuning.kinds.regression import Regression
from electra_jax.finetuning.kinds.relation import Relation
from electra_jax.finetuning.kinds.tagging import Tagging
from electra_jax.finetuning.task import Task
from electra_jax.plugins import class_from_file, is_file_reference

_KINDS: tuple[Kind, ...] = (
    Classification(),
    Relation(),
    Multilabel(),
    Regression(),
    Tagging(),
    MultipleChoice(),
    Ranking(),
    QuestionAnswering(),
)
KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _KINDS})
_own: dict[type[Kind], Kind] = {}


def find_kind(name: str) -> Kind:
    """The kind named in the table, or by FILE.py:CLASS.

    Raises `UserError` for an unknown name, and for a user's class that is not a complete kind.
    """
    if name in KINDS:
        return KINDS[name]
    if not is_file_reference(name):
        raise UserError(f"there is no kind of task {name!r}; they are {', '.join(KINDS)}")
    found = class_from_file(name, Kind)  # type: ignore[type-abstract]
    if found.name in KINDS:
        raise UserError(f"{name}: its name, {found.name!r}, is one of the package's: set another")
    return _own.setdefault(found, found())


def kind_of(task: Task) -> Kind:
    """The kind of a task, with the task's settings for it."""
    return find_kind(task.kind).with_settings(task.kind_settings)


def as_kind(kind: str | Kind) -> Kind:
    """A kind itself, or the one with that name."""
    return find_kind(kind) if isinstance(kind, str) else kind


def with_reference_head() -> tuple[str, ...]:
    """The kinds of the table for which the reference has a head."""
    return tuple(name for name, kind in KINDS.items() if kind.reference is not None)


def padding_of_all() -> dict[str, Padding]:
    """The padded fields of all kinds in the table."""
    return {name: padding for kind in _KINDS for name, padding in kind.fields.items()}
