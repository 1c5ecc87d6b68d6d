"""The arguments of the training loop: what is trained, on which batches, and where."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from electra_jax.errors import UserError
from electra_jax.objectives.base import Objective, Tree
from electra_jax.training.sharding import AnyMesh, data_parallelism
from electra_jax.training.step import TrainState


@dataclasses.dataclass(frozen=True)
class LoopSettings:
    """How long, how large, how often. Intervals are in steps, where 0 means only at the end;
    `checkpoint_minutes` adds checkpoints by the clock, 0 none. `sequential` updates the
    objective's networks in turn."""

    steps: int
    batch_size: int
    seed: int = 0
    accumulate: int = 1
    log_every: int = 100
    eval_every: int = 0
    checkpoint_every: int = 1000
    checkpoint_minutes: float = 0.0
    keep: int = 3
    keep_every: int | None = None
    sequential: bool = False

    def check(self, mesh: AnyMesh) -> None:
        """Raises `UserError` where the batch does not divide by the microbatches and devices."""
        parts = self.accumulate * data_parallelism(mesh)
        if self.batch_size % parts:
            raise UserError(
                f"train.batch_size={self.batch_size} is not divisible by "
                f"train.accumulate={self.accumulate} × "
                f"mesh.data·mesh.fsdp={data_parallelism(mesh)}: use a multiple of {parts}"
            )


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Held-out batches of one size, summed under the objective: `name` prefixes its metrics
    (`eval_`)."""

    batches: Callable[[], Iterator[Mapping[str, np.ndarray]]]
    batch_size: int
    name: str = "eval"


@dataclasses.dataclass
class Run:
    """The arguments of `fit`. `batches(first_example)` yields this process's share of every
    batch from there on.

    `initial(params, frozen)` replaces fresh parameters (a model to start from), and
    `initial_moments(opt_state)` the optimizer's fresh moments; `resume` is
    another run's folder to continue; `watch(row, tokens)` may return a warning to show.
    `measure(state, step)` is an evaluation that needs the host (decoding, official scores): its
    numbers join the evaluation row. `finished(row)` ends the run early after such a row.
    `checkpoints` is where they are, if not in `workdir`; `before_save` runs before each of them.
    `largest()` is a batch of the largest shape, where batches have several: its step is compiled
    first, so that the memory of the run is known before the first one.
    """

    objective: Objective
    optimizer: Callable[[Tree], optax.GradientTransformation]
    schedule: Callable[[Any], jax.Array]
    settings: LoopSettings
    batches: Callable[[int], Iterator[Mapping[str, np.ndarray]]]
    mesh: jax.sharding.Mesh
    workdir: Path
    evaluations: Sequence[Evaluation] = ()
    initial: Callable[[Tree, Tree], tuple[Tree, Tree]] | None = None
    initial_moments: Callable[[Tree], Tree] | None = None
    resume: Any = None
    checkpoints: Any = None
    before_save: Callable[[], None] | None = None
    largest: Callable[[], Mapping[str, np.ndarray]] | None = None
    watch: Callable[[Mapping[str, float], float], str | None] | None = None
    measure: Callable[[TrainState, int], Mapping[str, float]] | None = None
    finished: Callable[[Mapping[str, float]], bool] | None = None
    tensorboard: bool = True
    wandb: Mapping[str, Any] | None = None
    quiet: bool = False
