"""The task of a fine-tuned model that was made elsewhere, derived from its head and config.json."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.config.model import ElectraConfig
from electra_jax.errors import UserError
from electra_jax.finetuning.kinds.table import find_kind, kind_of
from electra_jax.finetuning.metrics.spans import is_span_tag
from electra_jax.finetuning.task import SETTINGS_KEY, Task
from electra_jax.finetuning.task_table import TASKS, get_task
from electra_jax.interop.loaded import LoadedModel
from electra_jax.modeling.heads.huggingface import CHOICE, HEADS, QUESTION, SEQUENCE, TOKEN

log = logging.getLogger(__name__)

MAX_LENGTH = 512
"""Tokens of a text at most, where the model has positions for more."""
_QUESTION_SHARE = 4  # a question has a quarter of a short model's positions at most
_MULTILABEL, _REGRESSION = "multi_label_classification", "regression"


def derived_settings(loaded: LoadedModel, task_name: str | None) -> dict[str, Any]:
    """What `task_settings` would say of a fine-tuned model whose config.json lacks them; what is
    assumed is logged.

    `task_name` is for what config.json cannot say. Raises `UserError` where the model has no
    fine-tuned head, or the task another one.
    """
    if loaded.kind not in HEADS or not isinstance(loaded.config, ElectraConfig):
        raise UserError(
            f"{loaded.source}: not fine-tuned: it is of kind {loaded.kind!r}, which has no "
            f"head of a task (its config.json has no {SETTINGS_KEY}); fine-tune it first"
        )
    names = _label_names(loaded)
    task = get_task(task_name or _task_of(loaded, names))
    kind = kind_of(task)
    if kind.huggingface != loaded.kind:
        raise UserError(
            f"{loaded.source} has a head for {loaded.kind.replace('_', ' ')}, and {task.name} is "
            f"{kind.name}: use a model of that task, or one of the tasks "
            f"{', '.join(_tasks_with(loaded.kind))}"
        )
    if loaded.kind == SEQUENCE:
        _check_outputs(loaded, task, kind.problem_type)
    labels = _labels(task, names) if _has_labels(loaded, task) else ()
    length = min(MAX_LENGTH, loaded.config.max_position_embeddings)
    log.warning(
        "%s: made elsewhere; taken for the task %s%s, texts of up to %d tokens%s",
        loaded.source,
        task.name,
        f" with the labels {_shown(labels)}" if labels else "",
        length,
        "" if task_name else f" (--task names another: {', '.join(_tasks_with(loaded.kind))})",
    )
    return {
        "task": task.name,
        "kind": kind.name,
        "head": "huggingface",
        "labels": list(labels),
        "codec": {"max_length": length, "max_query_length": min(64, length // _QUESTION_SHARE)},
        "question": {},
    }


def _task_of(loaded: LoadedModel, names: Sequence[str]) -> str:
    """The task that a head, its labels and config.json's problem_type stand for."""
    if loaded.kind == TOKEN:
        return "ner" if all(map(is_span_tag, names)) else "tagging"
    if loaded.kind == QUESTION:
        return "squad1"  # as transformers' pipeline, which gives an answer to every question
    if loaded.kind == CHOICE:
        return "multiple_choice"
    if loaded.problem_type == _MULTILABEL:
        return "multilabel"
    if loaded.problem_type == _REGRESSION or loaded.num_labels == 1:
        return "regression"
    return "classification"


def _check_outputs(loaded: LoadedModel, task: Task, problem_type: str | None) -> None:
    """Raises `UserError` where the task reads the classifier's outputs otherwise than it was
    trained to."""
    stated = loaded.problem_type
    if stated is not None and problem_type is not None and stated != problem_type:
        raise UserError(
            f"{loaded.source} was trained for {stated} (problem_type of its config.json), and "
            f"{task.name} is {problem_type}: use a model of that task"
        )
    one = loaded.num_labels == 1
    if problem_type is None:
        return  # a kind of the user's own
    if one != (problem_type == _REGRESSION) and not (one and stated == _MULTILABEL):
        raise UserError(
            f"{loaded.source} has {loaded.num_labels} outputs, and {task.name} is {task.kind}: "
            "a regression has one, a classification more"
        )


def _has_labels(loaded: LoadedModel, task: Task) -> bool:
    return loaded.kind == TOKEN or (
        loaded.kind == SEQUENCE and kind_of(task).problem_type != _REGRESSION
    )


def _label_names(loaded: LoadedModel) -> tuple[str, ...]:
    """The labels of a classifier in the order of its outputs; where config.json names none (as
    `transformers` does: LABEL_0, …), their numbers."""
    count = loaded.num_labels or 0
    named = loaded.id2label or {}
    if any(i not in named or named[i] != f"LABEL_{i}" for i in range(count)) and named:
        if sorted(named) != list(range(count)) or len(set(named.values())) != count:
            raise UserError(
                f"{loaded.source}: id2label of its config.json must name the {count} outputs 0 to "
                f"{count - 1}, each differently; it is {named}"
            )
        return tuple(named[i] for i in range(count))
    return tuple(map(str, range(count)))


def _labels(task: Task, names: tuple[str, ...]) -> tuple[str, ...]:
    """The model's labels by the task's names, in the model's order; as they are where the task has
    no others, or where they are not its labels."""
    if task.labels is None:
        return names
    if names == tuple(map(str, range(len(task.labels)))) and names != task.labels:
        log.warning(
            "the model's labels have no names: taken in the order of %s: %s",
            task.name, ", ".join(task.labels),
        )  # fmt: skip
        return task.labels
    known: Mapping[str, str] = {
        **{alias.lower(): label for alias, label in task.aliases.items()},
        **{label.lower(): label for label in task.labels},
    }
    return tuple(known.get(name.lower(), name) for name in names)


def _tasks_with(head: str) -> list[str]:
    """The tasks of the table whose models have a head."""
    return [t.name for t in TASKS.values() if find_kind(t.kind).huggingface == head]


def _shown(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - 12} more" if len(labels) > 12 else ""
    return ", ".join(labels[:12]) + more
