"""The facts of a fine-tuning run for the model card in its model folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import electra_jax
from electra_jax.finetuning.data.readers import TFDS_PREFIX
from electra_jax.finetuning.data.task_data import TaskData
from electra_jax.interop.formats.model_card import ModelFacts


def model_facts(
    config: Mapping[str, Any],
    data: TaskData,
    base: str,
    *,
    seed: int,
    step: int,
    trained: int,
    scores: Mapping[str, float],
    test_scores: Mapping[str, float],
    failure: str | None,
) -> ModelFacts:
    """Of a run with a resolved `config` on `data` from the model `base`, of which the parameters of
    `step` are kept; `trained` is the number of trained parameters, `failure` the reason why it
    counts as a run that did not learn.

    Files are named without their folders: a card is published.
    """
    name = data.task.name if data.task.kind == data.kind.name else data.kind.name
    train = config["train"]
    rows = {
        "training data": _file(data.files.train),
        "training examples": f"{len(data.train):,}",
        "held-out data": _file(data.files.eval),
        "held-out examples": f"{len(data.eval):,}" if data.eval else "",
        "test data": _file(config["data"]["test_path"]),
        "columns": ", ".join(f"{role} from `{column}`" for role, column in data.columns.items()),
        "longest input": f"{data.settings.max_length} tokens",
        "texts cut to it": f"{data.truncated:,}" if data.truncated else "",
    }
    training = {
        "method": str(config["tune"]["method"]).replace("full", "all parameters"),
        "trained parameters": f"{trained:,}",
        "epochs": _plain(train["epochs"]),
        "batch size": str(train["batch_size"]),
        "learning rate": _plain(config["optimizer"]["learning_rate"]),
        "seed": str(seed),
        "step kept": f"{step:,}",
        "made with": f"electra_jax {electra_jax.__version__}",
    }
    remarks = [] if failure is None else [f"This run did not learn: {failure}"]
    held_out = {n: v for n, v in scores.items() if not math.isnan(v)}
    return ModelFacts(
        title=f"{name} from {base if _is_name(base) else Path(base).name}",
        task=name,
        dataset=_file(data.files.eval) or _file(data.files.train),
        base=base,
        labels=data.codec.labels,
        data=rows,
        training=training,
        scores=held_out,
        test_scores=test_scores,
        remarks=remarks,
    )


def _file(path: str | None) -> str:
    return path if path and path.startswith(TFDS_PREFIX) else Path(path).name if path else ""


def _plain(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _is_name(base: str) -> bool:
    return base.count("/") == 1 and not Path(base).exists()
