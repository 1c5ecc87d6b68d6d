"""The scores of a model on labelled data, with those of each class."""

from __future__ import annotations

from collections.abc import Mapping

from electra_jax.finetuning.metrics.per_class import ClassScores, describe_classes
from electra_jax.finetuning.metrics.units import with_unit


class Evaluation(dict[str, float]):
    """The task's official metrics by name. `classes` has precision, recall and F1 in percent, and
    the number of gold items, of each class; {} where the task has no classes."""

    def __init__(self, scores: Mapping[str, float], classes: ClassScores) -> None:
        super().__init__(scores)
        self.classes = classes

    def describe(self) -> str:
        """The classes as a table, and the scores in a line."""
        line = ", ".join(f"{name} {with_unit(name, value)}" for name, value in self.items())
        return "\n".join(filter(None, (describe_classes(self.classes), line)))
