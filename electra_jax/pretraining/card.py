"""The facts of a pretraining run for the model cards of its networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import electra_jax
from electra_jax.data.mixture import Mixture
from electra_jax.data.row_format import MANIFEST
from electra_jax.data.rows import Rows
from electra_jax.files import read_object
from electra_jax.interop.formats.model_card import ModelFacts
from electra_jax.objectives.presentation import Metric
from electra_jax.training.metrics_log import EVAL, read_rows


def model_facts(
    config: Mapping[str, Any],
    rows: Rows | Mixture,
    metrics: Sequence[Metric],
    workdir: Path,
    steps: int,
) -> ModelFacts:
    """Of a finished run of `steps` steps with a resolved `config`; the scores are the objective's
    `metrics` among its last held-out figures.

    Paths are named by their last part: a card is published.
    """
    train, batch = config["train"], config["train"]["batch_size"]
    mixed = isinstance(rows, Mixture)
    manifest = read_object(rows.folder / MANIFEST) if not mixed else {"splits": {"train": {}}}
    documents = manifest["splits"]["train"].get("documents")
    unknown = manifest.get("statistics", {}).get("unknown_rate")
    data = {
        "documents": f"{documents:,}" if documents else "",
        "tokens": f"{rows.tokens:,}",
        "rows": f"{rows.count:,} of {rows.seq_len} tokens",
        "unknown tokens": f"{unknown:.2%}" if unknown is not None else "",
    }
    if isinstance(rows, Mixture):
        data["mixture"] = "; ".join(rows.describe(named=True))
    start = config["init"] or config["init_generator"] or ""
    rate = config["optimizer"]["learning_rate"]
    training = {
        "objective": str(config["objective"]["name"]),
        "steps": f"{steps:,}",
        "batch": f"{batch} rows, {batch * rows.seq_len:,} tokens",
        "tokens seen": f"{steps * batch * rows.seq_len:,}, padding included",
        "optimizer": str(config["optimizer"]["name"]),
        "learning rate": f"{rate:g}" if isinstance(rate, float) else str(rate),
        "seed": str(train["seed"]),
        "computed in": str(train["dtype"]),
        "made with": f"electra_jax {electra_jax.__version__}",
    }
    return ModelFacts(
        dataset="held-out rows",
        base=str(start),
        data=data,
        training=training,
        scores=_held_out(read_rows(workdir), metrics),
    )


def _held_out(rows: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]) -> dict[str, float]:
    """The objective's figures in the last row of metrics.jsonl that has any of held-out data."""
    for row in reversed(rows):
        keys = [metric.key for metric in metrics]
        found = {key: row[EVAL + key] for key in keys if row.get(EVAL + key) is not None}
        if found:
            return found
    return {}
