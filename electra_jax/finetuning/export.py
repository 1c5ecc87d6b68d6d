"""A fine-tuned network as a model folder, and back.

config.json carries, under `task_settings`, what `predict` and `evaluate` need to read inputs and
write answers; `transformers` ignores it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.finetuning.codecs import make_codec
from electra_jax.finetuning.examples import Codec, CodecSettings
from electra_jax.finetuning.networks import HUGGINGFACE_KINDS, Network
from electra_jax.finetuning.tasks import Task, get_task
from electra_jax.interop.adapters import save_adapter
from electra_jax.interop.folder import LoadedModel, encoder_of
from electra_jax.interop.names import REFERENCE, flatten
from electra_jax.interop.save import save_model_folder
from electra_jax.interop.settings import label_settings
from electra_jax.modeling.heads.reference import QuestionSettings
from electra_jax.modeling.peft.base import Adaptation
from electra_jax.modeling.peft.lora import LoRA

KEY = "task_settings"


def task_settings(
    task: Task,
    codec: Codec,
    settings: CodecSettings,
    network: Network,
    columns: Mapping[str, str | None],
    usual: Mapping[str, str],
) -> Any:
    """What config.json says beside the network's shape; `columns` are those that were named,
    `usual` all that were read."""
    problem = {
        "classification": "single_label_classification",
        "relation": "single_label_classification",
        "multilabel": "multi_label_classification",
        "regression": "regression",
    }.get(task.kind)
    extra: dict[str, Any] = {
        KEY: {
            "task": task.name,
            "kind": task.kind,
            "head": network.head,
            "labels": list(codec.labels),
            "codec": dataclasses.asdict(settings),
            "question": dataclasses.asdict(network.question),
            "columns": {role: name for role, name in columns.items() if name is not None},
            "columns_read": dict(usual),
        },
        "classifier_dropout": network.dropout_rate,
    }
    if codec.labels:
        extra |= label_settings(codec.labels)
    if problem:
        extra["problem_type"] = problem
    return extra


def export_model(
    folder: Path,
    network: Network,
    params: Mapping[str, Any],
    tokenizer_folder: Path | None,
    extra: Mapping[str, Any],
) -> None:
    """Writes the whole network; a regression's last layer in the unit of the data where
    `transformers` computes the same head."""
    kind = REFERENCE if network.head == REFERENCE else HUGGINGFACE_KINDS[network.kind]
    extra = dict(extra)
    if network.kind == "regression" and kind != REFERENCE:
        params, extra = _in_data_unit(params, extra)
    save_model_folder(folder, kind, network.config, params, tokenizer_folder, extra)


def _in_data_unit(
    params: Mapping[str, Any], extra: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same regression with `target_range` folded into its last layer."""
    settings = dict(extra[KEY])
    low, high = settings["codec"]["target_range"]
    head = dict(params["classifier"])
    last = dict(head["out_proj"]) if "out_proj" in head else head
    last = {
        "kernel": np.asarray(last["kernel"]) * np.float32(high - low),
        "bias": np.asarray(last["bias"]) * np.float32(high - low) + np.float32(low),
    }
    head = {**head, "out_proj": last} if "out_proj" in head else last
    settings["codec"] = {**settings["codec"], "target_range": [0.0, 1.0]}
    return {**params, "classifier": head}, {**extra, KEY: settings}


def in_network_unit(
    head: Mapping[str, np.ndarray], start: LoadedModel, target_range: tuple[float, float]
) -> dict[str, np.ndarray]:
    """The flat tree of a regression's head, read with `start`, for another range of targets."""
    codec = start.settings.get(KEY, {}).get("codec", {})
    from_low, from_high = codec.get("target_range", (0.0, 1.0))
    low, high = target_range
    scale, shift = (from_high - from_low) / (high - low), (from_low - low) / (high - low)
    last = "classifier/out_proj" if "classifier/out_proj/kernel" in head else "classifier"
    scaled = {
        f"{last}/kernel": head[f"{last}/kernel"] * np.float32(scale),
        f"{last}/bias": head[f"{last}/bias"] * np.float32(scale) + np.float32(shift),
    }
    return {**head, **scaled}


def export_adapter(
    folder: Path,
    adaptation: Adaptation,
    network: Network,
    trained: Mapping[str, Any],
    start: LoadedModel,
    base: str,
    tokenizer_folder: Path | None,
    extra: Mapping[str, Any],
) -> None:
    """Writes only what was trained; `electra_jax.load(folder)` puts it onto `base`, the model at
    which `start` was found."""
    _, encoder = encoder_of(start)
    kind = REFERENCE if network.head == REFERENCE else HUGGINGFACE_KINDS[network.kind]
    save_adapter(
        folder,
        {n: np.asarray(x) for n, x in flatten(trained).items()},
        kind=kind,
        base=base,
        base_encoder=encoder,
        scale=adaptation.alpha / adaptation.rank if isinstance(adaptation, LoRA) else 1.0,
        tokenizer_folder=tokenizer_folder,
        settings=extra,
    )


@dataclasses.dataclass(frozen=True)
class TrainedTask:
    """A fine-tuned model ready to answer. `columns` have the names that training was given, `usual`
    all columns that it read: where data to answer has them, they are what is meant."""

    task: Task
    codec: Codec
    network: Network
    params: Any
    settings: CodecSettings
    columns: dict[str, str]
    usual: dict[str, str]


def trained_task(
    loaded: LoadedModel, task_name: str | None = None, null_threshold: float | None = None
) -> TrainedTask:
    """From a model folder that `finetune` wrote.

    `task_name` must be the model's task, or one of its kind and labels; `null_threshold` replaces
    the model's.
    Raises `UserError` where the folder has no fine-tuned head, or one of another task.
    """
    stated = loaded.settings.get(KEY)
    if stated is None:
        raise UserError(
            f"{loaded.source}: not fine-tuned by `electra-jax finetune` (its config.json has no "
            f"{KEY}); fine-tune it first"
        )
    task = get_task(task_name or stated["task"])
    if task.kind != stated["kind"]:
        raise UserError(
            f"{loaded.source} was trained for {stated['task']} ({stated['kind']}), and "
            f"{task.name} is {task.kind}: use a model of that task"
        )
    labels = tuple(stated["labels"])
    if task.labels is not None and labels != task.labels:
        raise UserError(
            f"{loaded.source} has the labels {', '.join(labels)}, and {task.name} has "
            f"{', '.join(task.labels)}: use a model of that task"
        )
    known = {f.name for f in dataclasses.fields(CodecSettings)}
    values = {n: v for n, v in stated["codec"].items() if n in known}
    values["target_range"] = tuple(values.get("target_range", (0.0, 1.0)))
    if null_threshold is not None:
        if task.questions != "v2":
            raise UserError(
                f"null_threshold={null_threshold}: {task.name} always has an answer, so there is "
                "nothing to weigh against none; leave it out"
            )
        values["null_threshold"] = null_threshold
    settings = CodecSettings(**values)
    head = stated["head"]
    (name,) = loaded.params.get("task_specific", {stated["task"]: None})
    network = Network(
        loaded.config,  # type: ignore[arg-type]
        task.kind,
        max(1, len(labels)),
        head,
        name,
        loaded.dropout_rate,
        QuestionSettings(**stated["question"]),
    )
    codec = make_codec(task, loaded.tokenizer, settings, labels, head)
    columns, usual = (
        {r: n for r, n in stated.get(key, {}).items() if r in task.column_roles}
        for key in ("columns", "columns_read")
    )
    return TrainedTask(task, codec, network, loaded.params, settings, columns, usual)
