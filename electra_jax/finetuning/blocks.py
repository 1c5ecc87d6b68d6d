"""Blocks of a fine-tuning run's report beside its curves: scores and the kind's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.finetuning.data.task_data import TaskData
from electra_jax.finetuning.result import Result


def report_blocks(
    data: TaskData, predictions: Sequence[Mapping[str, Any]], result: Result
) -> list[dict[str, Any]]:
    """The blocks of report.json (see `reporting.blocks`), from predictions on the evaluation
    examples."""
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
    return blocks + data.kind.errors(data.eval, predictions, data.codec.labels)


def failure_block(why: str) -> dict[str, Any]:
    """The first block of the report of a run that did not learn."""
    return {"title": "This run did not learn", "text": why}
