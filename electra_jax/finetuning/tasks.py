"""The table of tasks: what a task's data looks like, how it is scored, and its usual settings.

A new task is a new row here. Nothing else in the package knows tasks by name.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from electra_jax.errors import UserError
from electra_jax.finetuning.examples import Example, TaggedExample, TextExample

Kind = Literal[
    "classification",
    "multilabel",
    "regression",
    "relation",
    "tagging",
    "question_answering",
    "multiple_choice",
    "ranking",
]

_TEXT = ("text", "sentence", "review", "content", "question", "title", "tokens", "words")
SINGLE = tuple((name,) for name in _TEXT)
PAIRS = (
    ("sentence1", "sentence2"),
    ("#1 String", "#2 String"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text", "text_pair"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("query", "passage"),
)

_LABEL = ("label", "gold_label", "Quality", "is_duplicate", "intent", "category", "class")
_WORDS = ("tokens", "words", "form", "text", "sentence")
_TAGS = ("tags", "labels", "slots", "tag")

# The roles that columns play in a kind's data, and the names by which each is looked for.
_ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "classification": {"label": _LABEL},
    "multilabel": {"label": ("labels", "label", "categories", "tags")},
    "regression": {"label": ("score", "label", "target", "value", "rating")},
    "relation": {"label": ("label", "relation"), "head": ("head", "e1"), "tail": ("tail", "e2")},
    "tagging": {"words": _WORDS, "tags": _TAGS},
    "question_answering": {
        "question": ("question",),
        "context": ("context",),
        "answers": ("answers",),
    },
    "multiple_choice": {
        "context": ("context", "passage", "article", "prompt", "ctx"),
        "question": ("question", "query"),
        "choices": ("choices", "candidates", "options", "endings", "answers"),
        "label": ("label", "answerKey", "answer", "gold"),
    },
}
_ROLES["ranking"] = _ROLES["multiple_choice"]


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
      kind: which codec and which head.
      metrics: names of its scores; the first is `metric`.
      texts: column sets that hold the text or the two texts; the first that a file has is read.
      roles: names by which the other columns are looked for, by role.
      labels: the labels in the order of their ids; None where the training data tells them.
      aliases: other spellings of labels (tensorflow-datasets').
      target_range: least and greatest target of a regression; the reference divides by it. None:
        the training data's.
      positive: the label that "f1" of a classification is about.
      spans: whether tags mark spans of words (B-X, I-X, O); None: the labels tell.
      tag_scheme: the scheme in which tags are learnt: "given", or one of `spans.SCHEMES`.
      questions: whose rules and scores of question answering: "v1", "v2", "cmrc" or "mrqa".
      headerless: columns of the official file where that has no header line.
      glue_file: name in a GLUE submission; two for MNLI: matched, mismatched.
      tfds: data set; `splits`: its splits for "train", "eval" and "test" (MNLI: also the
        mismatched ones).
      trained_by: the task whose models this one evaluates, where it has no training data.
    """

    name: str
    kind: Kind
    metrics: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...] = ()
    roles: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    target_range: tuple[float, float] | None = None
    positive: str = "1"
    headerless: tuple[str, ...] = ()
    max_length: int = 128
    epochs: float = 3.0
    double_unordered: bool = False
    spans: bool | None = None
    tag_scheme: str = "given"
    questions: str = "v1"
    glue_file: tuple[str, ...] = ()
    tfds: str | None = None
    splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    trained_by: str | None = None

    @property
    def metric(self) -> str:
        """The score by which runs and checkpoints are compared; more is better."""
        return self.metrics[0]

    @property
    def column_roles(self) -> tuple[str, ...]:
        """The roles that `data.columns.*` can name a column for."""
        texts = ("text", "text_pair") if self.texts else ()
        return ("id", *texts, *self.roles)


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


def _task(name: str, kind: Kind, metrics: str, **fields: Any) -> Task:
    roles = {**_ROLES[kind], **fields.pop("roles", {})}
    return Task(name, kind, tuple(metrics.split()), roles=roles, **fields)


def _glue(name: str, metrics: str, file: str | tuple[str, ...], **fields: Any) -> Task:
    kind: Kind = fields.pop("kind", "classification")
    files = (file,) if isinstance(file, str) else file
    fields = {"texts": PAIRS, "tfds": f"glue/{name}", "splits": _GLUE_SPLITS, **fields}
    return _task(name, kind, metrics, glue_file=files, **fields)


def _binary(no: str, yes: str) -> dict[str, Any]:
    return {"labels": ("0", "1"), "aliases": {no: "0", yes: "1"}}


def _tagging(name: str, metrics: str, *columns: str, **fields: Any) -> Task:
    roles = {"tags": (*columns, *(c for c in _TAGS if c not in columns))}
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
    """The table's row of a name.

    Raises:
      UserError: no such task; the nearest names are shown.
    """
    if name in TASKS:
        return TASKS[name]
    near = difflib.get_close_matches(name.lower(), TASKS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UserError(f'unknown task "{name}"; {hint}The tasks are: {", ".join(TASKS)}')


def collect_labels(task: Task, examples: Iterable[Example]) -> tuple[str, ...]:
    """A task's labels in the order of their ids: the table's, or the sorted set of the examples'.

    Integers are sorted by value. Regression, choices and questions have no labels: ().

    Raises:
      UserError: the examples have fewer than two labels (one, for several labels a text).
    """
    if task.labels is not None:
        return task.labels
    if task.kind in ("regression", "multiple_choice", "ranking", "question_answering"):
        return ()
    found: set[str] = set()
    count = 0
    for example in examples:
        count += 1
        if isinstance(example, TaggedExample):
            found.update(example.tags or ())
        elif isinstance(example, TextExample) and isinstance(example.label, tuple):
            found.update(example.label)
        elif isinstance(example, TextExample) and isinstance(example.label, str):
            found.add(example.label)
    if task.tag_scheme != "given":  # one word more in a span is another tag, never another label
        found |= {f"{letter}-{tag[2:]}" for tag in found if tag[1:2] == "-" for letter in "BIES"}
    if not found:
        raise UserError(f"none of the {count} training examples has a label")
    if len(found) < 2 and task.kind != "multilabel":
        raise UserError(
            f'all {count} training examples have the same label, "{min(found)}"; there is nothing '
            "to learn, and most metrics are undefined: give data with at least two labels"
        )
    return natural_order(found)


def natural_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Sorted; by value where all labels are integers."""
    names = list(labels)
    if all(re.fullmatch(r"[+-]?\d+", name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))
