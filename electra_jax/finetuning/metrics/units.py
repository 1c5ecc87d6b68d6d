"""How the scores of tasks are shown: with a unit, and whether more is better."""

from __future__ import annotations

import re
from collections.abc import Sequence

from electra_jax.objectives.base import Metric

# Shares and correlations, which the metrics give in percent.
_IN_PERCENT = re.compile(
    r"(.*_)?(accuracy|f1|precision|recall|exact_match|exact|matthews|pearson|spearman|mrr|average)"
    r"|recall_at_\d+"
)
_LOWER_IS_BETTER = ("mean_squared_error",)


def unit_of(metric: str) -> str:
    """ "%" of a share or a correlation, else ""."""
    return "%" if _IN_PERCENT.fullmatch(metric) else ""


def with_unit(metric: str, value: float | None) -> str:
    """A score with its unit: `87.3 %`; "undefined" where it is None or not a number."""
    if value is None or value != value:
        return "undefined"
    return f"{value:.1f} %" if unit_of(metric) else f"{value:.4g}"


def title_of(metric: str) -> str:
    """`macro_f1` → `Macro F1`."""
    words = re.sub(r"\bf1\b", "F1", metric.replace("_", " "))
    return words[:1].upper() + words[1:]


def shown_metrics(names: Sequence[str]) -> tuple[Metric, ...]:
    """The official metrics of a task as reports and sweeps show them."""
    return tuple(
        Metric(
            name,
            title_of(name),
            unit_of(name),
            -1 if name in _LOWER_IS_BETTER else 1,
            "Scores",
            headline=True,
        )
        for name in names
    )
