"""The report's block of confused labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from electra_jax.finetuning.metrics.classification import confusion_matrix

_MOST_LABELS = 20  # shown as a matrix; with more, a list of the most frequent confusions


def confusions(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> list[dict[str, Any]]:
    """One block (see `reporting.blocks`) for (true, predicted) labels; [] without any."""
    if not pairs:
        return []
    # Evaluation data may have labels that training lacks.
    labels = (*labels, *sorted({label for pair in pairs for label in pair} - set(labels)))
    if len(labels) <= _MOST_LABELS:
        true, predicted = ([pair[i] for pair in pairs] for i in (0, 1))
        counts = confusion_matrix(true, predicted, labels)
        matrix = {"labels": list(labels), "counts": counts.tolist()}
        return [{"title": "Confusion matrix", "matrix": matrix}]
    wrong = Counter(pair for pair in pairs if pair[0] != pair[1])
    rows = [[*pair, count] for pair, count in wrong.most_common(_MOST_LABELS)]
    title = f"What is confused most ({sum(wrong.values()):,} of {len(pairs):,} are wrong)"
    columns = ["true", "predicted", "times"]
    return [{"title": title, "table": {"columns": columns, "rows": rows}}]
