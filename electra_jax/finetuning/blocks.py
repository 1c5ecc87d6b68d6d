"""What a fine-tuning run's report shows beside its curves: scores and confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.finetuning.data import TaskData
from electra_jax.finetuning.metrics import confusion_matrix
from electra_jax.finetuning.result import Result

_MOST_LABELS = 20  # of a matrix that can be read; more become a list of what is confused most


def report_blocks(
    data: TaskData, predictions: Sequence[Mapping[str, Any]], result: Result
) -> list[dict[str, Any]]:
    """The blocks of report.json (see `training.report`) for the evaluation examples' answers."""
    blocks: list[dict[str, Any]] = []
    if result.failure:
        blocks.append(failure_block(result.failure))
    rows = [[name, value] for name, value in result.scores.items()]
    rows += [[f"test {name}", value] for name, value in result.test_scores.items()]
    if rows:
        blocks.append(
            {
                "title": f"Scores of step {result.step}",
                "table": {"columns": ["metric", "value"], "rows": rows},
            }
        )
    if pairs := _labels(data, predictions):
        blocks.append(_confusions(pairs, data.codec.labels))
    return blocks


def failure_block(why: str) -> dict[str, Any]:
    """What the page of a run that did not learn begins with."""
    return {"title": "This run did not learn", "text": why}


def _labels(data: TaskData, predictions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(true, predicted) labels: one a text, or one a word that fitted."""
    kind, gold = data.task.kind, data.eval
    if kind in ("classification", "relation"):
        return [
            (str(getattr(e, "label", None)), p["label"])
            for e, p in zip(gold, predictions, strict=True)
        ]
    if kind == "tagging":
        return [
            (true, said)
            for e, p in zip(gold, predictions, strict=True)
            for true, said in zip(getattr(e, "tags", None) or (), p["tags"], strict=True)
            if said is not None
        ]
    return []


def _confusions(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> dict[str, Any]:
    if len(labels) <= _MOST_LABELS:
        true, said = ([pair[i] for pair in pairs] for i in (0, 1))
        counts = confusion_matrix(true, said, labels)
        matrix = {"labels": list(labels), "counts": counts.tolist()}
        return {"title": "Confusion matrix", "matrix": matrix}
    wrong = Counter(pair for pair in pairs if pair[0] != pair[1])
    rows = [[*pair, count] for pair, count in wrong.most_common(_MOST_LABELS)]
    return {
        "title": f"What is confused most ({sum(wrong.values()):,} of {len(pairs):,} are wrong)",
        "table": {"columns": ["true", "predicted", "times"], "rows": rows},
    }
