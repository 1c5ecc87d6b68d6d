"""Initialising a fine-tuning run from a model: its encoder always, its head where task and labels
match."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.finetuning.data.task_data import TaskData
from electra_jax.finetuning.objective import FineTuneObjective
from electra_jax.finetuning.task import SETTINGS_KEY
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.loaded import LoadedModel, encoder_of
from electra_jax.interop.mapping.names import OWN_HEADS, REFERENCE
from electra_jax.modeling.heads.huggingface import HEADS
from electra_jax.modeling.peft.base import Full, is_head
from electra_jax.modeling.trees import flatten, unflatten
from electra_jax.text.tokenizers.settled import with_case

log = logging.getLogger(__name__)


def load_start(init: str | None, cased: bool | None = None) -> LoadedModel:
    """The model that `init` names; `cased` is for a vocabulary without settings (None: guessed).
    Raises `UserError` where it is not set or no model."""
    if not init:
        raise UserError(
            "init is not set: --config.init=MODEL, a model folder, a pretraining run, a TF1 "
            "checkpoint or a Hub id"
        )
    start = load_model_folder(init)
    if start.kind == "generator":
        log.warning("%s is a generator; ELECTRA is fine-tuned from the discriminator", init)
    if cased is not None and start.tokenizer_folder is not None:
        folder = with_case(start.tokenizer_folder, cased)
        start = dataclasses.replace(start, tokenizer_folder=folder)
    return start


def adapter_base(init: str, start: LoadedModel) -> str:
    """The base that an adapter records: a folder's path, or the Hub id as given."""
    return start.source if Path(init).expanduser().exists() else init


def place(
    start: LoadedModel, data: TaskData, objective: FineTuneObjective, params: Any, frozen: Any
) -> tuple[Any, Any]:
    """`params` and `frozen` with the encoder's weights of `start`, and its head's where that is for
    the same task. Raises `UserError` where an encoder's weight is missing or of another shape."""
    _, encoder = encoder_of(start)
    known = {f"electra/{n}": x for n, x in flatten(encoder).items()}
    shapes = {n: x.shape for tree in (params, frozen) for n, x in flatten(tree).items()}
    head = _kept_head(start, data, objective, shapes)
    if head is not None:
        known |= head
        log.warning("%s: its head has these labels, and is kept", start.source)
    elif start.kind in (*HEADS, REFERENCE, OWN_HEADS):
        log.warning(
            "%s: its head is of another task or other labels, and begins anew", start.source
        )
    trees = []
    for tree in (params, frozen):
        flat = flatten(tree)
        missing = [n for n in flat if n.startswith("electra/") and n not in known]
        if missing:
            raise UserError(f"{start.source}: lacks {', '.join(missing[:5])}")
        filled = {n: np.asarray(known[n]) if n in known else x for n, x in flat.items()}
        for name, leaf in filled.items():
            if leaf.shape != flat[name].shape:
                raise UserError(
                    f"{start.source}: {name} is {leaf.shape} where {flat[name].shape} is needed"
                )
        nested = isinstance(objective.adaptation, Full)
        trees.append(unflatten(filled) if nested else filled)
    return trees[0], trees[1]


def _kept_head(
    start: LoadedModel,
    data: TaskData,
    objective: FineTuneObjective,
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, Any] | None:
    """The head of `start`, flat, where it is for the same task; None where it is not."""
    network, labels = objective.network, tuple(data.codec.labels)
    head = {n: x for n, x in flatten(start.params).items() if is_head(n)}
    if any(x.shape != shapes.get(n) for n, x in head.items()):
        return None
    kind, stated = data.kind, start.settings.get(SETTINGS_KEY, {})
    codec = stated.get("codec", {})
    if start.kind != network.saved_as:
        return None
    if start.kind == REFERENCE:  # one task, named in the folder's settings
        same = stated.get("task") == data.task.name and tuple(stated.get("labels", ())) == labels
        return head if same and kind.same_scale(codec, data.settings) else None
    if start.kind == OWN_HEADS and stated.get("kind") != kind.name:
        return None
    names = tuple((start.id2label or {}).values())
    return kind.kept_head(head, codec, names, labels, data.settings)
