"""The plan of a pretraining run: mesh, shapes, FLOPs, bytes on every device. Trains nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from electra_jax.config.resolved import as_config
from electra_jax.config.training import AUTO
from electra_jax.data.mixture import folders_of, open_rows
from electra_jax.objectives.base import Tree
from electra_jax.objectives.table import fields_of
from electra_jax.pretraining.held_out import open_held_out
from electra_jax.pretraining.plan import Plan, with_accumulation
from electra_jax.training import memory
from electra_jax.training.optimizer import names
from electra_jax.training.sharding import (
    AXES,
    AnyMesh,
    abstract_mesh,
    data_parallelism,
    make_mesh,
)


@dataclasses.dataclass(frozen=True)
class AssumedRows:
    """Shapes of rows that are not prepared yet."""

    vocab_size: int
    seq_len: int
    max_segments: int = 1
    count: int | None = None
    folder: str = "(assumed)"

    @property
    def special_ids(self) -> dict[str, int]:
        """Any ids: they change no shape."""
        return {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}

    def token_counts(self, most: int | None = None) -> np.ndarray:
        """Any counts: they change no shape."""
        return np.ones(self.vocab_size, np.int64)

    def word_starts(self) -> np.ndarray:
        """Any: they change no shape."""
        return np.ones(self.vocab_size, bool)


def dry_run(
    config: Mapping[str, Any], devices: int | None = None, topology: str | None = None
) -> str:
    """The plan of a run as text: mesh, shapes, FLOPs, bytes on every device. Trains nothing.

    devices: plan for this number of absent devices; memory beside the state is then an estimate.
    topology: a TPU slice to compile for without having it, such as "v4:2x2x4" (needs `libtpu`).
    With neither, the step is compiled for the devices that are here. Without `data.path`, rows of
    model.max_position_embeddings tokens and the published vocabulary's size are assumed.
    """
    rows: Any
    held_out = None
    if config["data"]["path"]:
        path = config["data"]["path"]
        rows, held_out = open_rows(path), open_held_out(folders_of(path)[0])
    else:
        model = config["model"]
        rows = AssumedRows(model["vocab_size"] or 30522, model["max_position_embeddings"])
    here = devices is None and topology is None
    asked = config["train"]["accumulate"] == AUTO
    if here:
        config = with_accumulation(as_config(config, fields_of(config)), rows, held_out, None)
    plan = Plan.of(config, rows, held_out)
    mesh: AnyMesh
    if topology is None and devices is not None:
        mesh = abstract_mesh(config["mesh"], devices)
    else:
        mesh = make_mesh(config["mesh"], memory.tpu_devices(topology) if topology else None)
    plan.settings.check(mesh)
    about = ""
    if asked:
        about = " (train.accumulate=auto" + ("" if here else ", chosen where the run begins") + ")"
    return describe(plan, rows, mesh, about)


def describe(plan: Plan, rows: Any, mesh: AnyMesh, about_parts: str = "") -> str:
    """The text of `dry_run`; `about_parts` follows the number of a batch's parts. Memory is XLA's
    account for a mesh of devices, an estimate for an abstract one."""
    s = plan.settings
    step = plan.step(rows, mesh)
    need = step.memory(s.accumulate)
    tokens = s.batch_size * rows.seq_len
    flops = plan.objective.flops_per_token(rows.seq_len) * tokens
    sizes = " × ".join(f"{axis} {mesh.shape[axis]}" for axis in AXES)
    there = isinstance(mesh, Mesh)
    device = mesh.devices.flat[0].device_kind if there else "devices that are not here"
    part = s.batch_size // s.accumulate
    lines = [
        f"mesh        {sizes}: {math.prod(mesh.shape.values())} × {device}",
        f"rows        {rows.folder}: {rows.seq_len} tokens, vocabulary {rows.vocab_size:,}",
        f"batch       {s.batch_size} rows a step in {s.accumulate} part(s){about_parts}: "
        f"{part // data_parallelism(mesh)} rows on a device at a time",
        f"run         {s.steps:,} steps, {s.steps * tokens:.3g} tokens",
        f"FLOPs       {flops:.3g} a step (matrix products of every network, forward and twice that "
        f"backward), {flops * s.steps:.3g} in all",
        f"parameters  {sum(leaf.size for leaf in jax.tree.leaves(step.params)):,}",
        "",
        "parameter, its shape, its part on one device",
        *_parameter_lines(step.state.params, step.shardings.params),
        "",
        "bytes on one device",
        f"  parameters                 {need.parameters:>16,}  {_human(need.parameters)}  exact",
        f"  optimizer state            {need.optimizer:>16,}  {_human(need.optimizer)}  exact",
        f"  gradients and activations  {need.step:>16,}  {_human(need.step)}  {need.source}",
        f"  together                   {need.total:>16,}  {_human(need.total)}",
    ]
    return "\n".join(lines)


def _parameter_lines(params: Tree, shardings: Tree) -> list[str]:
    rows = [
        (name, list(leaf.shape), list(sharding.shard_shape(leaf.shape)))
        for name, leaf, sharding in zip(
            *map(jax.tree.leaves, (names(params), params, shardings)), strict=True
        )
    ]
    width = max(len(name) for name, _, _ in rows)
    return [f"  {name:{width}}  {shape} → {part}" for name, shape, part in rows]


def _human(count: int) -> str:
    return f"{memory.human_bytes(count):>9}"
