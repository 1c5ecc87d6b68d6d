"""`train.accumulate=auto`: the fewest parts of a batch with which a step fits into the memory that
is free, found once, before a run begins, from the compiler's account of the step. The number is
recorded with the run, so that a resumed one keeps it, on whatever machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

from electra_jax.config.resolved import Config
from electra_jax.config.training import AUTO
from electra_jax.errors import UserError
from electra_jax.objectives.base import Objective, Tree
from electra_jax.training import memory
from electra_jax.training.distributed import on_first
from electra_jax.training.memory import Memory, human_bytes
from electra_jax.training.run import LoopSettings
from electra_jax.training.sharding import (
    LOGICAL_AXES,
    AnyMesh,
    batch_sharding,
    data_parallelism,
    replicated,
    state_shardings,
)
from electra_jax.training.step import PackedStep, init_state, run_key_data

log = logging.getLogger(__name__)


class PlannedStep:
    """The step of a run that has not begun, as shapes: `state` with its `shardings`, and the memory
    that it would take in a number of parts.

    batch: {name: array or its shape and dtype}, a whole batch of the largest shape that the run
    has. On an abstract mesh nothing can be compiled.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Callable[[Tree], optax.GradientTransformation],
        settings: LoopSettings,
        mesh: AnyMesh,
        batch: Mapping[str, Any],
    ) -> None:
        self._objective, self._settings, self._mesh = objective, settings, mesh
        self.params, _ = jax.eval_shape(objective.init, jax.random.key(0))
        self._optimizer = optimizer(self.params)
        self.state = jax.eval_shape(lambda: init_state(objective, self._optimizer, settings.seed))
        self.shardings = state_shardings(mesh, self.state)
        self._batch = {k: jax.ShapeDtypeStruct(x.shape, x.dtype) for k, x in batch.items()}

    @property
    def rows(self) -> int:
        """Of a batch, on one device."""
        return self._settings.batch_size // data_parallelism(self._mesh)

    def memory(self, parts: int) -> Memory:
        """Of a device, with batches in `parts`: XLA's account, or an estimate for a mesh of devices
        that are not here. Where a device refuses the program for its size, JAX's error."""
        s, mesh = self._settings, self._mesh
        step = PackedStep(self._objective, self._optimizer, s.seed, parts, s.sequential)
        if not isinstance(mesh, jax.sharding.Mesh):
            traced = jax.jit(step).trace(self.state, self._batch)
        else:
            with jax.set_mesh(mesh), nn.logical_axis_rules(LOGICAL_AXES):  # as `fit` computes
                out = (self.shardings, replicated(mesh))
                jitted = jax.jit(step, donate_argnums=(0,), out_shardings=out)
                state = jax.tree.map(_placed, self.state, self.shardings)
                batch = {k: _placed(x, batch_sharding(mesh)) for k, x in self._batch.items()}
                traced = jitted.trace(state, batch, run_key_data(s.seed, "train"))
                program = traced.lower().compile()
            if (need := memory.compiled(program, self.state, self.shardings)) is not None:
                return need
        return memory.estimated(traced, self.state, self.shardings, mesh, s.batch_size // parts)


def settled(config: Config, recorded: Mapping[str, Any] | None, find: Callable[[], int]) -> Config:
    """The configuration with a number in place of `train.accumulate=auto`: the one that the run in
    the work folder has (`recorded`: the configuration that it began with), or what `find` finds."""
    config = kept(config, recorded)
    if config["train"]["accumulate"] != AUTO:
        return config
    return config.replace({"train.accumulate": find()}, given=False)


def kept(config: Config, recorded: Mapping[str, Any] | None) -> Config:
    """The configuration with the number that `recorded` has for `train.accumulate=auto`, if one."""
    number = (recorded or {}).get("train", {}).get("accumulate")
    if config["train"]["accumulate"] != AUTO or not isinstance(number, int):
        return config
    log.warning("train.accumulate=auto: %d, as this run began", number)
    return config.replace({"train.accumulate": number}, given=False)


def fitting(step: PlannedStep, *, imports_later: bool = False, divisible: bool = True) -> int:
    """The fewest parts with which a step fits into the memory that is free (of the first process's
    host or device). divisible: whether the loss may be computed in parts.

    Raises `UserError` where it does not fit in any number of them. Collective: call it in every
    process.
    """
    rows = step.rows
    choices = [n for n in range(1, rows + 1) if rows % n == 0] if divisible else [1]
    asked: dict[int, tuple[Memory | None, int | None]] = {}

    def room(parts: int) -> int | None:
        """Bytes of a device that the step would leave free; below 0 where it does not fit."""
        try:
            need = step.memory(parts)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            asked[parts] = (None, -1)
        else:
            left = on_first(lambda: memory.left(need, imports_later=imports_later))
            asked[parts] = (need, left)
        return asked[parts][1]

    def likely(parts: int) -> int | None:
        """From the account of another number of them."""
        need, left = asked[parts]
        if need is None or left is None:
            return 2 * parts
        space = need.step + left
        return memory.fitting_parts(need.step, need.parameters, space, rows, parts)

    number = fewest(choices, lambda parts: (room(parts) or 0) >= 0, likely)
    if number is None:
        raise UserError(_nothing_fits(*asked[choices[-1]], rows, divisible))
    need, left = asked[number]
    if left is None or need is None:
        log.warning("train.accumulate=auto: 1, since this machine does not tell its free memory")
    else:
        log.warning(
            "train.accumulate=auto: %d; with it a device takes %s and %s stay free; recorded with "
            "the run",
            number, human_bytes(need.total), human_bytes(left),
        )  # fmt: skip
    return number


def fewest(
    choices: list[int], fits: Callable[[int], bool], likely: Callable[[int], int | None]
) -> int | None:
    """The first of ascending `choices` that `fits`, where all after one that fits do too; None
    where none does. `likely(n)` says after n did not fit which one might: what is asked is the
    first, then likely ones, and the one before one that fits."""
    low, high, at = 0, len(choices), 0
    while low < high:
        if fits(choices[at]):
            high = at
            at = high - 1
        else:
            low = at + 1
            hope = likely(choices[at]) or choices[-1]
            at = min(int(np.searchsorted(choices, hope)), high - 1)
            at = max(at, low)
    return choices[high] if high < len(choices) else None


def _nothing_fits(need: Memory | None, left: int | None, rows: int, divisible: bool) -> str:
    """The message, with what would fit."""
    parts = f"even in {rows} parts, a row of a device at a time," if divisible else "in one part"
    message = f"train.accumulate=auto: {parts} a step does not fit into the free memory"
    if need is None or left is None:
        return f"{message}: use model.remat=full, a smaller batch or model, or more devices"
    remedy = "model.remat=full, shorter rows or a smaller model"
    if need.total + left < 2 * need.parameters + need.optimizer:  # gradients are as parameters
        remedy = "a smaller model, or split its state with mesh.fsdp=-1 over more devices"
    elif not divisible:
        remedy = "a smaller train.batch_size (this loss cannot be split) or model.remat=full"
    return f"{message}: {need}; {human_bytes(-left)} are lacking; use {remedy}"


def _placed(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
