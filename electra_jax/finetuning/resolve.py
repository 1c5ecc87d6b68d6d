"""Settings of a fine-tuning run that depend on its model and data: class weights, the network,
learning rates by step and layer, the length of the run."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from electra_jax.config.finetuning import (
    FinetuneSettings,
    FinetuneTrain,
    LossSettings,
    QuestionSettings,
    read_finetune,
)
from electra_jax.config.model import ElectraConfig
from electra_jax.config.resolved import Config
from electra_jax.config.training import AUTO
from electra_jax.data.read_ahead import imports_later
from electra_jax.errors import UserError
from electra_jax.finetuning.data.batches import LENGTHS, Plan
from electra_jax.finetuning.data.task_data import TaskData
from electra_jax.finetuning.kinds.base import Kind
from electra_jax.finetuning.kinds.table import with_reference_head
from electra_jax.finetuning.network import Network
from electra_jax.finetuning.recipe import (
    default_layerwise_decay,
    default_learning_rate,
    freeze_lowest,
    layerwise_multipliers,
)
from electra_jax.training.accumulation import PlannedStep, fitting, settled
from electra_jax.training.resolve import (
    RunLength,
    learning_rate,
    loop_settings,
    run_length,
    steps_per_epoch,
)
from electra_jax.training.run import LoopSettings, Run
from electra_jax.training.sharding import data_parallelism

_EVALUATIONS = 10  # at most, where evaluations follow epochs


def loss_settings(given: FinetuneSettings, labels: Sequence[str], data: TaskData) -> LossSettings:
    """`loss.*` with class weights as one number a label. Raises `UserError` on what cannot be
    combined."""
    splits = given.train.accumulate not in (1, AUTO)  # auto: 1 where nothing may be split
    if given.loss.reduction == "sum" and splits:
        raise UserError("loss.reduction='sum' and train.accumulate > 1: use one of them")
    if data.kind.whole_batch and splits:
        raise UserError(
            f"train.accumulate={given.train.accumulate}: the loss of {data.kind.name} compares the "
            "rows of a whole batch, which accumulation would split: use 1"
        )
    weights = given.loss.class_weights
    if weights == "balanced":
        counts = Counter(getattr(e, "label", None) for e in data.train)
        if data.codec.labels and all(label in counts for label in data.codec.labels):
            total = sum(counts.values())
            weights = [total / (len(labels) * counts[label]) for label in labels]
        else:
            raise UserError(
                "loss.class_weights='balanced' needs one label an example and every label in the "
                "training data"
            )
    if weights is not None:
        if not isinstance(weights, list | tuple) or not all(
            isinstance(w, int | float) and w >= 0 for w in weights
        ):
            raise UserError(
                f"loss.class_weights={weights!r}: give 'balanced', or one number a label, as in "
                f"({', '.join('1.0' for _ in labels)},) for {', '.join(labels)}"
            )
        weights = tuple(float(w) for w in weights)
        if not any(weights):
            raise UserError("loss.class_weights are all 0: give one label or more a weight above 0")
        if not labels:
            raise UserError(
                f"loss.class_weights={weights}: {data.task.name} has no labels to weigh"
            )
        if len(weights) != len(labels):
            raise UserError(
                f"loss.class_weights has {len(weights)} numbers and the task {len(labels)} labels: "
                f"{', '.join(labels)}"
            )
    return dataclasses.replace(given.loss, class_weights=weights)


def encoder_config(given: FinetuneSettings, shape: ElectraConfig) -> ElectraConfig:
    """The model's configuration, overridden by `model.*` and `train.dtype`."""
    names = (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "pooling",
        "scan_layers",
        "remat",
        "attention",
    )
    changes = {n: getattr(given.model, n) for n in names if getattr(given.model, n) is not None}
    return shape.replace(dtype=given.train.dtype, **changes)


def network(config: Mapping[str, Any], encoder: ElectraConfig, data: TaskData) -> Network:
    """The encoder with the head of the task's kind. Raises `UserError` on model.head=reference
    where the reference has none."""
    model, task = config["model"], data.task
    if model["head"] == "reference" and data.kind.reference is None:
        raise UserError(
            f"model.head=reference: the reference has no head for {data.kind.name} (it has "
            f"{', '.join(with_reference_head())})"
        )
    dropout = model["classifier_dropout"]
    return Network(
        encoder,
        data.kind,
        max(1, len(data.codec.labels)),
        model["head"],
        task.name,
        encoder.hidden_dropout_prob if dropout is None else dropout,
        QuestionSettings(**model["question"]),
    )


def multipliers(given: FinetuneSettings, encoder: ElectraConfig, params: Any) -> Any:
    """Learning-rate factors like `params`: 0 in frozen layers."""
    optimizer = given.optimizer
    decay = optimizer.layerwise_decay
    if decay is None:
        decay = default_layerwise_decay(encoder, given.tune.method)
    multipliers = layerwise_multipliers(params, encoder, decay, optimizer.layerwise_mode)
    return freeze_lowest(multipliers, params, encoder, optimizer.freeze_layers)


def schedule(given: FinetuneSettings, encoder: ElectraConfig, length: RunLength) -> Any:
    """The learning rate by step."""
    rate = given.optimizer.learning_rate
    if rate is None:
        rate = default_learning_rate(encoder, given.tune.method)
    return learning_rate(given.optimizer, rate, length)


def checked_loop_settings(
    train: FinetuneTrain, seed: int, steps: int, eval_every: int, mesh: jax.sharding.Mesh
) -> LoopSettings:
    """`train.*` as `LoopSettings`. Raises `UserError` on batches that the mesh cannot split."""
    settings = loop_settings(
        train,
        steps,
        seed=seed,
        log_every=min(train.log_every, max(1, steps // 4)),
        eval_every=eval_every,
        checkpoint_every=train.checkpoint_every or eval_every,
    )
    settings.check(mesh)
    if train.eval_batch_size < 1 or train.eval_batch_size % data_parallelism(mesh):
        raise UserError(
            f"train.eval_batch_size={train.eval_batch_size} is no positive multiple of "
            f"mesh.data·mesh.fsdp={data_parallelism(mesh)}: use one"
        )
    return settings


def with_accumulation(
    config: Config,
    recorded: Mapping[str, Any] | None,
    run: Run,
    kind: Kind,
) -> Config:
    """The configuration with a number for `train.accumulate=auto`, which `run` gets too. recorded:
    the configuration that the run in the work folder began with. Raises `UserError` where no number
    fits."""
    given = read_finetune(config)

    def find() -> int:
        assert run.largest is not None
        step = PlannedStep(run.objective, run.optimizer, run.settings, run.mesh, run.largest())
        divisible = not kind.whole_batch and given.loss.reduction == "mean"
        later = imports_later(given.data.backend)
        return fitting(step, imports_later=later, divisible=divisible)

    config = settled(config, recorded, find)
    run.settings = dataclasses.replace(run.settings, accumulate=config["train"]["accumulate"])
    run.settings.check(run.mesh)
    return config


def eval_plan(plan: Plan, train: FinetuneTrain, limit: int) -> Plan:
    """The plan of evaluation batches: also lengths above the longest of training, up to `limit`."""
    longer = {n for n in (*LENGTHS, limit) if plan.lengths[-1] < n <= limit}
    lengths = (*plan.lengths, *sorted(longer))
    return dataclasses.replace(plan, lengths=lengths, batch_size=train.eval_batch_size)


def durations(given: FinetuneSettings, lengths: np.ndarray) -> tuple[RunLength, int]:
    """(length of the run, steps between evaluations); `lengths` are the training features'."""
    length = run_length(
        given.train,
        given.optimizer,
        examples=len(lengths),
        seq_len=int(lengths.mean()),
        whole_batches=True,
    )
    per_epoch = steps_per_epoch(given.train, len(lengths))
    every = given.train.eval_every or max(per_epoch, -(-length.steps // _EVALUATIONS))
    return length, min(every, length.steps)
