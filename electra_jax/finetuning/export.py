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

from electra_jax.config.fields import absent_values
from electra_jax.config.finetuning import QuestionSettings
from electra_jax.errors import UserError
from electra_jax.finetuning.codecs import MIN_LENGTH, make_codec
from electra_jax.finetuning.data.examples import Codec, CodecSettings
from electra_jax.finetuning.data.readers import has_header, without_header
from electra_jax.finetuning.derived_task import derived_settings
from electra_jax.finetuning.kinds.origin import origin, recorded_task
from electra_jax.finetuning.kinds.table import kind_of
from electra_jax.finetuning.network import Network
from electra_jax.finetuning.task import SETTINGS_KEY, Task
from electra_jax.finetuning.task_table import get_task
from electra_jax.interop.formats.adapter_folder import save_adapter
from electra_jax.interop.formats.model_card import ModelFacts
from electra_jax.interop.loaded import LoadedModel, encoder_of
from electra_jax.interop.mapping.hf_config import label_settings
from electra_jax.interop.mapping.names import REFERENCE
from electra_jax.interop.save import save_model_folder
from electra_jax.modeling.peft.base import Adaptation
from electra_jax.modeling.peft.lora import LoRA
from electra_jax.modeling.trees import flatten


def task_settings(
    task: Task,
    codec: Codec,
    settings: CodecSettings,
    network: Network,
    columns: Mapping[str, str | None],
    training_columns: Mapping[str, str],
) -> Any:
    """Fields of config.json beside the network's shape; `columns` are those named in the
    configuration by role, `training_columns` all that were read."""
    kind = network.kind
    extra: dict[str, Any] = {
        SETTINGS_KEY: {
            "task": task.name,
            "kind": kind.name,
            "head": network.head,
            "labels": list(codec.labels),
            "codec": dataclasses.asdict(settings),
            "question": dataclasses.asdict(network.question),
            "columns": {role: name for role, name in columns.items() if name is not None},
            "columns_read": dict(training_columns),
            **({} if has_header(task) else {"header": "no"}),
            **origin(task.kind),
        },
        "classifier_dropout": network.dropout_rate,
    }
    if own := dataclasses.asdict(kind.settings):
        extra[SETTINGS_KEY]["kind_settings"] = own
    if codec.labels:
        extra |= label_settings(codec.labels)
    if kind.problem_type:
        extra["problem_type"] = kind.problem_type
    return extra


def export_model(
    folder: Path,
    network: Network,
    params: Mapping[str, Any],
    tokenizer_folder: Path | None,
    extra: Mapping[str, Any],
    facts: ModelFacts | None = None,
) -> None:
    """Writes the whole network, its head as `transformers` computes it where it has the same.
    `facts` are for its model card."""
    if network.head != REFERENCE:
        params, extra = network.kind.exported(params, extra)
    save_model_folder(
        folder, network.saved_as, network.config, params, tokenizer_folder, extra, card=facts
    )


def export_adapter(
    folder: Path,
    adaptation: Adaptation,
    network: Network,
    trained: Mapping[str, Any],
    start: LoadedModel,
    base: str,
    tokenizer_folder: Path | None,
    extra: Mapping[str, Any],
    facts: ModelFacts | None = None,
) -> None:
    """Writes the trained parameters alone; `electra_jax.load(folder)` adds them to `base`, the path
    or Hub id from which `start` was loaded."""
    _, encoder = encoder_of(start)
    save_adapter(
        folder,
        {n: np.asarray(x) for n, x in flatten(trained).items()},
        kind=network.saved_as,
        base=base,
        base_encoder=encoder,
        scale=adaptation.alpha / adaptation.rank if isinstance(adaptation, LoRA) else 1.0,
        tokenizer_folder=tokenizer_folder,
        settings=extra,
        card=facts,
    )


@dataclasses.dataclass(frozen=True)
class TrainedTask:
    """A fine-tuned model ready to answer.

    `columns` are the column names of the training configuration, by role, `training_columns` all
    columns used in training, which are preferred where the input has them.
    """

    task: Task
    codec: Codec
    network: Network
    params: Any
    settings: CodecSettings
    columns: dict[str, str]
    training_columns: dict[str, str]


def trained_task(
    loaded: LoadedModel,
    task_name: str | None = None,
    null_threshold: float | None = None,
    max_length: int | None = None,
) -> TrainedTask:
    """The task, codec and network of a model folder: one that `finetune` wrote, or a fine-tuned
    model made elsewhere (`derived_task`).

    `task_name` must be the model's task, or one of its kind and labels; `null_threshold` and
    `max_length`, in tokens, replace the model's. Raises `UserError` where the folder has no
    fine-tuned head or that of another task, and where the model has too few positions.
    """
    stated = loaded.settings.get(SETTINGS_KEY)
    if stated is None:
        stated = derived_settings(loaded, task_name)
    task = get_task(task_name or recorded_task(stated, loaded.source))
    kind = kind_of(task)
    if kind.name != stated["kind"]:
        raise UserError(
            f"{loaded.source} was trained for {stated['task']} ({stated['kind']}), and "
            f"{task.name} is {kind.name}: use a model of that task"
        )
    task = dataclasses.replace(task, kind_settings=stated.get("kind_settings", {}))
    kind = kind_of(task)
    labels = tuple(stated["labels"])
    if task.labels is not None and sorted(labels) != sorted(task.labels):
        raise UserError(
            f"{loaded.source} has the labels {', '.join(labels)}, and {task.name} has "
            f"{', '.join(task.labels)}: use a model of that task"
        )
    known = {f.name for f in dataclasses.fields(CodecSettings)}
    values = {n: v for n, v in stated["codec"].items() if n in known}
    values = {**absent_values(CodecSettings), **values}
    values["target_range"] = tuple(values.get("target_range", (0.0, 1.0)))
    if null_threshold is not None:
        if task.questions != "v2":
            raise UserError(
                f"null_threshold={null_threshold}: {task.name} always has an answer, so there is "
                "nothing to weigh against none; leave it out"
            )
        values["null_threshold"] = null_threshold
    if max_length is not None:
        values["max_length"] = _checked_length(max_length, loaded)
    settings = CodecSettings(**values)
    head = stated["head"]
    (name,) = loaded.params.get("task_specific", {stated["task"]: None})
    network = Network(
        loaded.config,  # type: ignore[arg-type]
        kind,
        max(1, len(labels)),
        head,
        name,
        loaded.dropout_rate,
        QuestionSettings(**{**absent_values(QuestionSettings), **stated["question"]}),
    )
    codec = make_codec(task, loaded.tokenizer, settings, labels, head)
    columns, training_columns = (
        {r: n for r, n in stated.get(key, {}).items() if r in task.column_roles}
        for key in ("columns", "columns_read")
    )
    if stated.get("header") == "no":
        task = without_header(task)
    task = dataclasses.replace(task, labels=labels or task.labels)  # by which text is told
    return TrainedTask(task, codec, network, loaded.params, settings, columns, training_columns)


def _checked_length(length: int, loaded: LoadedModel) -> int:
    positions: int = loaded.config.max_position_embeddings  # type: ignore[union-attr]
    if not MIN_LENGTH <= length <= positions:
        raise UserError(
            f"max_length={length}: {loaded.source} reads {MIN_LENGTH} to {positions:,} tokens"
        )
    return length
