"""Blocks of a fine-tuning run's report beside its curves: scores and the kind's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.finetuning.data.task_data import TaskData
from electra_jax.finetuning.metrics.per_class import COLUMNS, class_table
from electra_jax.finetuning.metrics.units import with_unit
from electra_jax.finetuning.result import Result

MOST_MISTAKES = 20


def report_blocks(
    data: TaskData, predictions: Sequence[Mapping[str, Any]], result: Result
) -> list[dict[str, Any]]:
    """The blocks of report.json (see `reporting.blocks`), from predictions on the evaluation
    examples."""
    blocks: list[dict[str, Any]] = []
    if result.failure:
        blocks.append(failure_block(result.failure))
    rows = [[name, with_unit(name, value)] for name, value in result.scores.items()]
    rows += [[f"test {n}", with_unit(n, value)] for n, value in result.test_scores.items()]
    if rows:
        blocks.append(
            {
                "title": f"Scores of step {result.step}",
                "table": {"columns": ["metric", "value"], "rows": rows},
            }
        )
    blocks += data.kind.errors(data.eval, predictions, data.codec.labels)
    if classes := data.kind.class_scores(data.codec, data.eval, predictions):
        title, lines = class_table(classes)
        blocks.append({"title": title, "table": {"columns": list(COLUMNS), "rows": lines}})
    return blocks + mistake_blocks(data, predictions)


def mistake_blocks(
    data: TaskData, predictions: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The worst answers with their texts; [] where none is wrong or the kind shows none."""
    answered = zip(data.eval, predictions, strict=True)
    found = [m for e, p in answered if (m := data.kind.mistake(e, p)) is not None]
    if not found:
        return []
    worst = sorted(found, key=lambda mistake: -mistake.weight)[:MOST_MISTAKES]
    rows = [[_short(m.text, 400), _short(m.right, 160), _short(m.answer, 160)] for m in worst]
    title = f"The worst {len(rows)} of {len(found):,} that differ, of {len(data.eval):,} answers"
    return [{"title": title, "table": {"columns": ["text", "right", "answer"], "rows": rows}}]


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def failure_block(why: str) -> dict[str, Any]:
    """The first block of the report of a run that did not learn."""
    return {"title": "This run did not learn", "text": why}
