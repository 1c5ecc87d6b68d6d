"""The parts of a pretraining run for a training loop of one's own, over `make_train_step`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from electra_jax.objectives.base import Objective, Tree
from electra_jax.pretraining.run import Pretraining
from electra_jax.training.step import TrainState, init_state


@dataclasses.dataclass(frozen=True)
class PretrainingParts:
    """What `make_train_step` and a loop need; one process, one device.

    `schedule(step)` is the learning rate. `batches(first_example)` yields {"input_ids": int32
    [batch, length]} without end from there on.
    """

    objective: Objective
    optimizer: optax.GradientTransformation
    schedule: Callable[[Any], jax.Array]
    batches: Callable[[int], Iterator[Mapping[str, np.ndarray]]]
    batch_size: int
    steps: int
    seed: int
    _run: Pretraining

    def init(self) -> TrainState:
        """The state of step 0, which `pretrain` starts from too (`init` models included)."""
        state = jax.jit(lambda: init_state(self.objective, self.optimizer, self.seed))()
        if self._run.run.initial is None:
            return state
        params, frozen = self._run.run.initial(state.params, state.frozen)
        return TrainState(state.step, params, state.opt_state, frozen)

    def save(self, params: Tree) -> dict[str, Path]:
        """Writes model/discriminator and model/generator into the work folder, as `pretrain` does;
        returns the folders by name."""
        self._run.export(jax.tree.map(np.asarray, params))
        models = self._run.workdir / "model"
        return {p.name: p for p in sorted(models.glob("*")) if p.is_dir()}


def build_pretraining(
    config: Mapping[str, Any], workdir: str | PathLike[str] = "."
) -> PretrainingParts:
    """The parts of the run that a configuration describes (from `get_config`); writes nothing until
    `save`. Raises `UserError` on anything wrong in the configuration."""
    built = Pretraining.build(config, Path(workdir), quiet=True)
    run = built.run
    params, _ = jax.eval_shape(run.objective.init, jax.random.key(0))
    return PretrainingParts(
        objective=run.objective,
        optimizer=run.optimizer(params),
        schedule=run.schedule,
        batches=run.batches,
        batch_size=run.settings.batch_size,
        steps=run.settings.steps,
        seed=run.settings.seed,
        _run=built,
    )
