"""The table of tasks: what a task's data looks like, how it is scored, and its default settings.

A new task is a new row here. Nothing else in the package knows tasks by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from electra_jax.config.fields import field, group_from
from electra_jax.config.finetuning import FinetuneSettings
from electra_jax.errors import UserError, nearest
from electra_jax.finetuning.data.examples import Example
from electra_jax.finetuning.kinds.table import find_kind, kind_of
from electra_jax.finetuning.kinds.tagging import TAGS
from electra_jax.finetuning.kinds.text import PAIRS, SINGLE
from electra_jax.finetuning.task import Task
from electra_jax.plugins import is_file_reference

_GLUE_SPLITS = {"train": "train", "eval": "validation", "test": "test"}
_DEVELOPMENT = {"train": "train", "eval": "validation"}
_SPAN_SCORES = "f1 precision recall accuracy"
_MNLI_SPLITS = {
    "train": "train",
    "eval": "validation_matched",
    "test": "test_matched",
    "eval_mismatched": "validation_mismatched",
    "test_mismatched": "test_mismatched",
}
_ENTAILMENT = ("entailment", "not_entailment")
_NLI = ("contradiction", "entailment", "neutral")


def _task(name: str, kind: str, metrics: str, **fields: Any) -> Task:
    roles = {**find_kind(kind).roles, **fields.pop("roles", {})}
    return Task(name, kind, tuple(metrics.split()), roles=roles, **fields)


def _glue(name: str, metrics: str, file: str | tuple[str, ...], **fields: Any) -> Task:
    kind = fields.pop("kind", "classification")
    files = (file,) if isinstance(file, str) else file
    fields = {"texts": PAIRS, "tfds": f"glue/{name}", "splits": _GLUE_SPLITS, **fields}
    return _task(name, kind, metrics, glue_file=files, **fields)


def _binary(no: str, yes: str) -> dict[str, Any]:
    return {"labels": ("0", "1"), "aliases": {no: "0", yes: "1"}}


def _tagging(name: str, metrics: str, *columns: str, **fields: Any) -> Task:
    roles = {"tags": (*columns, *(c for c in TAGS if c not in columns))}
    return _task(name, "tagging", metrics, roles=roles, max_length=256, **fields)


def _questions(name: str, mode: str, **fields: Any) -> Task:
    fields = {"max_length": 512, "epochs": 2.0, **fields}
    return _task(name, "question_answering", "f1", questions=mode, **fields)


_SEMEVAL_RELATIONS = (
    "Cause-Effect",
    "Component-Whole",
    "Content-Container",
    "Entity-Destination",
    "Entity-Origin",
    "Instrument-Agency",
    "Member-Collection",
    "Message-Topic",
    "Product-Producer",
)
SEMEVAL_LABELS = (
    *(f"{name}({way})" for name in _SEMEVAL_RELATIONS for way in ("e1,e2", "e2,e1")),
    "Other",
)

# Epochs, lengths and orders of labels are those of the reference's configure_finetuning.py and
# classification_tasks.py where it has the task.
_ROWS = (
    _glue(
        "cola",
        "matthews accuracy",
        "CoLA.tsv",
        texts=SINGLE,
        headerless=("source", "label", "mark", "sentence"),
        **_binary("unacceptable", "acceptable"),
    ),
    _glue("sst2", "accuracy", "SST-2.tsv", texts=SINGLE, **_binary("negative", "positive")),
    _glue(
        "mrpc",
        "f1 accuracy",
        "MRPC.tsv",
        double_unordered=True,
        **_binary("not_equivalent", "equivalent"),
    ),
    _glue(
        "stsb",
        "spearman pearson mean_squared_error",
        "STS-B.tsv",
        kind="regression",
        epochs=10.0,
        double_unordered=True,
        target_range=(0.0, 5.0),
    ),
    _glue("qqp", "accuracy f1", "QQP.tsv", **_binary("not_duplicate", "duplicate")),
    _glue(
        "mnli",
        "accuracy",
        ("MNLI-m.tsv", "MNLI-mm.tsv"),
        labels=_NLI,
        splits=_MNLI_SPLITS,
    ),
    _glue("qnli", "accuracy", "QNLI.tsv", labels=_ENTAILMENT),
    _glue("rte", "accuracy", "RTE.tsv", labels=_ENTAILMENT, epochs=10.0),
    _glue("wnli", "accuracy", "WNLI.tsv", **_binary("not_entailment", "entailment")),
    _glue(
        "ax", "matthews accuracy", "AX.tsv", labels=_NLI, splits={"test": "test"}, trained_by="mnli"
    ),
    _task("classification", "classification", "accuracy macro_f1", texts=(*PAIRS, *SINGLE)),
    _task("pair", "classification", "accuracy macro_f1", texts=PAIRS),
    _task("multilabel", "multilabel", "micro_f1 macro_f1 exact_match", texts=(*PAIRS, *SINGLE)),
    _task(
        "regression", "regression", "pearson spearman mean_squared_error", texts=(*PAIRS, *SINGLE)
    ),
    _task("relation", "relation", "macro_f1 accuracy", texts=SINGLE),
    _task("semeval2010_8", "relation", "directed_f1 accuracy", texts=SINGLE, labels=SEMEVAL_LABELS),
    _tagging("tagging", _SPAN_SCORES),
    _tagging("pos", "accuracy", "upos", "pos", "pos_tags", spans=False),
    _tagging("ner", _SPAN_SCORES, "ner", "ner_tags", spans=True),
    _tagging("chunking", _SPAN_SCORES, "chunks", "chunk_tags", spans=True, tag_scheme="BIOES"),
    _task("multiple_choice", "multiple_choice", "accuracy"),
    _task("ranking", "ranking", "recall_at_1 recall_at_2 recall_at_5 mrr", max_length=256),
    _questions("question_answering", "v2"),
    _questions("squad1", "v1", tfds="squad/v1.1", splits=_DEVELOPMENT),
    _questions("squad2", "v2", tfds="squad/v2.0", splits=_DEVELOPMENT),
    _questions("mrqa", "mrqa"),
    _questions("cmrc2018", "cmrc"),
)

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ROWS})

GLUE_TASKS = tuple(task.name for task in _ROWS if task.glue_file)


def get_task(name: str) -> Task:
    """The table's row of a name, or the row of a kind in a file: FILE.py:CLASS.

    Raises:
      UserError: no such task; the nearest names are shown.
    """
    if name in TASKS:
        return TASKS[name]
    if is_file_reference(name):
        return _own_task(name)
    near = nearest(name, TASKS, 3)
    hint = f"did you mean {' or '.join(near)}? The" if near else "the"
    raise UserError(
        f'unknown task "{name}"; {hint} tasks are: {", ".join(TASKS)}, and a kind of your own '
        "as FILE.py:CLASS"
    )


def configured_task(config: Mapping[str, Any]) -> Task:
    """The task of a fine-tuning configuration, with the settings of its kind."""
    return dataclasses.replace(get_task(config["task"]), kind_settings=config.get("kind") or {})


def fields_of(config: Mapping[str, Any]) -> type:
    """The fields of a fine-tuning configuration, with those of the kind of its task."""
    own = kind_of(get_task(config["task"])).Settings
    more = [("kind", own, field(own, "The task's kind."))] if dataclasses.fields(own) else []
    return group_from(FinetuneSettings, "FinetuneSettings", without=("kind",), more=more)


def _own_task(name: str) -> Task:
    kind = find_kind(name)
    if not kind.metrics:
        raise UserError(f"{name}: its `metrics` name no score: the first is what runs compare by")
    return Task(
        kind.name,
        name,
        kind.metrics,
        texts=kind.texts,
        roles=kind.roles,
        labels=kind.label_names,
        max_length=kind.max_length,
        epochs=kind.epochs,
    )


def collect_labels(task: Task, examples: Iterable[Example]) -> tuple[str, ...]:
    """A task's labels in the order of their ids: the table's, or the sorted set of the examples'.

    Integers are sorted by value. A kind without labels has ().

    Raises:
      UserError: the examples have fewer than two labels (one, for several labels a text).
    """
    return task.labels if task.labels is not None else kind_of(task).labels(task, examples)
