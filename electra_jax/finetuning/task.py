"""A row of the table of tasks (`task_table.py`); here because the kinds read it too."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

SETTINGS_KEY = "task_settings"
"""The key in config.json of a fine-tuned model under which its task is recorded."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
      kind: the name of its kind (`kinds/table.py`), or a user's own as FILE.py:CLASS.
      metrics: names of its scores; the first is `metric`.
      texts: names of the column or the two columns of text; the first that a file has is read.
      roles: accepted names of the other columns, by role.
      labels: the labels in the order of their ids; None: those of the training data.
      aliases: other spellings of labels (tensorflow-datasets').
      target_range: least and greatest target of a regression; the reference divides by it. None:
        the training data's.
      positive: the label that "f1" of a classification is about.
      spans: whether tags mark spans of words (B-X, I-X, O); None: judged by the labels.
      tag_scheme: the scheme in which tags are learned: "given", or one of `spans.SCHEMES`.
      questions: whose rules and scores of question answering: "v1", "v2", "cmrc" or "mrqa".
      headerless: columns of the official file where that has no header line.
      glue_file: name in a GLUE submission; two for MNLI: matched, mismatched.
      tfds: data set; `splits`: its splits for "train", "eval" and "test" (MNLI: also the
        mismatched ones).
      trained_by: the task whose models this one evaluates, where it has no training data.
      kind_settings: values of the kind's own fields (`Kind.Settings`).
    """

    name: str
    kind: str
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
    kind_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The score by which runs and checkpoints are compared; more is better."""
        return self.metrics[0]

    @property
    def column_roles(self) -> tuple[str, ...]:
        """The roles that `data.columns.*` can name a column for."""
        texts = ("text", "text_pair") if self.texts else ()
        return ("id", *texts, *self.roles)
