"""The plan of a pretraining run: mesh, shapes, FLOPs, bytes on every device. Trains nothing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from electra_jax.data.rows import Rows
from electra_jax.objectives.base import Tree
from electra_jax.pretraining.run import Plan, open_held_out
from electra_jax.training import memory
from electra_jax.training.optimizer import names
from electra_jax.training.sharding import (
    AXES,
    LOGICAL_AXES,
    AnyMesh,
    abstract_mesh,
    batch_sharding,
    data_parallelism,
    make_mesh,
    replicated,
    state_shardings,
)
from electra_jax.training.step import PackedStep, init_state


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
        rows, held_out = Rows.open(config["data"]["path"]), open_held_out(config["data"]["path"])
    else:
        model = config["model"]
        rows = AssumedRows(model["vocab_size"] or 30522, model["max_position_embeddings"])
    plan = Plan.of(config, rows, held_out)
    here = devices is None or topology is not None
    mesh: AnyMesh
    if devices is not None and not here:
        mesh = abstract_mesh(config["mesh"], devices)
    else:
        mesh = make_mesh(config["mesh"], memory.tpu_devices(topology) if topology else None)
    plan.settings.check(mesh)
    return describe(plan, rows, mesh, compiles=here)


def describe(plan: Plan, rows: Any, mesh: AnyMesh, *, compiles: bool) -> str:
    """The text of `dry_run`. With `compiles`, memory is XLA's account for the mesh's devices."""
    s = plan.settings
    params, _ = jax.eval_shape(plan.objective.init, jax.random.key(0))
    optimizer = plan.optimizer(params)
    state = jax.eval_shape(lambda: init_state(plan.objective, optimizer, s.seed))
    shardings = state_shardings(mesh, state)
    step = PackedStep(plan.objective, optimizer, s.seed, s.accumulate)
    batch = {"input_ids": jax.ShapeDtypeStruct((s.batch_size, rows.seq_len), jnp.int32)}
    if compiles:
        with (
            jax.set_mesh(cast(Mesh, mesh)),
            nn.logical_axis_rules(LOGICAL_AXES),
        ):  # as `fit` computes
            jitted = jax.jit(step, donate_argnums=(0,), out_shardings=(shardings, replicated(mesh)))
            placed = jax.tree.map(_placed, state, shardings)
            batch = jax.tree.map(lambda x: _placed(x, batch_sharding(mesh)), batch)
            traced = jitted.trace(placed, batch)
            program = traced.lower().compile()
        need = memory.compiled(program, state, shardings)
    else:
        traced, need = jax.jit(step).trace(state, batch), None
    need = need or memory.estimated(traced, state, shardings, mesh, s.batch_size // s.accumulate)
    tokens = s.batch_size * rows.seq_len
    flops = plan.objective.flops_per_token(rows.seq_len) * tokens
    sizes = " × ".join(f"{axis} {mesh.shape[axis]}" for axis in AXES)
    device = mesh.devices.flat[0].device_kind if compiles else "devices that are not here"
    part = s.batch_size // s.accumulate
    lines = [
        f"mesh        {sizes}: {math.prod(mesh.shape.values())} × {device}",
        f"rows        {rows.folder}: {rows.seq_len} tokens, vocabulary {rows.vocab_size:,}",
        f"batch       {s.batch_size} rows a step in {s.accumulate} part(s): "
        f"{part // data_parallelism(mesh)} rows on a device at a time",
        f"run         {s.steps:,} steps, {s.steps * tokens:.3g} tokens",
        f"FLOPs       {flops:.3g} a step (matrix products of every network, forward and twice that "
        f"backward), {flops * s.steps:.3g} in all",
        f"parameters  {sum(leaf.size for leaf in jax.tree.leaves(params)):,}",
        "",
        "parameter, its shape, its part on one device",
        *_parameter_lines(state.params, shardings.params),
        "",
        "bytes on one device",
        f"  parameters                 {need.parameters:>16,}  {_human(need.parameters)}  exact",
        f"  optimizer state            {need.optimizer:>16,}  {_human(need.optimizer)}  exact",
        f"  gradients and activations  {need.step:>16,}  {_human(need.step)}  {need.source}",
        f"  together                   {need.total:>16,}  {_human(need.total)}",
    ]
    return "\n".join(lines)


def _placed(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


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
