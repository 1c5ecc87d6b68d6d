"""What follows from a pretraining configuration and the shape of the rows before there are devices:
for a run and for `--dry_run` alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from electra_jax.config.pretraining import PretrainSettings, read_pretrain
from electra_jax.config.resolved import Config
from electra_jax.data.read_ahead import imports_later
from electra_jax.objectives.base import PretrainingObjective, RunShape, Tree
from electra_jax.objectives.row_structure import SpecialIds
from electra_jax.objectives.table import build_objective, check_exports
from electra_jax.training import accumulation
from electra_jax.training.optimizer import build_optimizer, optimizer_groups
from electra_jax.training.resolve import learning_rate, loop_settings, run_length
from electra_jax.training.run import LoopSettings
from electra_jax.training.schedules import RateSchedule
from electra_jax.training.sharding import AnyMesh, make_mesh

# Rows by which token frequencies are counted, where an objective asks for them.
COUNTED_ROWS = 2**18


def run_shape(config: Mapping[str, Any], rows: Any, held_out: Any, steps: int) -> RunShape:
    """The `RunShape` of a run over `rows`."""
    return RunShape(
        config=config,
        rows=str(rows.folder),
        vocab_size=rows.vocab_size,
        special=SpecialIds(**rows.special_ids),
        seq_len=rows.seq_len,
        max_segments=max(1, rows.max_segments, held_out.max_segments if held_out else 1),
        steps=steps,
        tokens_per_step=config["train"]["batch_size"] * rows.seq_len,
        token_counts=lambda: rows.token_counts(COUNTED_ROWS),
        word_starts=lambda: rows.word_starts(),
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that follows from a configuration and the shape of the rows, without devices (also
    for --dry_run). `config` is the configuration as typed fields, `settings` the loop's."""

    config: PretrainSettings
    objective: PretrainingObjective
    optimizer: Callable[[Tree], optax.GradientTransformation]
    schedule: RateSchedule
    settings: LoopSettings
    warmup: int

    @classmethod
    def of(cls, config: Mapping[str, Any], rows: Any, held_out: Any) -> Plan:
        """Raises `UserError` on anything wrong in the configuration."""
        given = read_pretrain(config)
        length = run_length(given.train, given.optimizer, examples=rows.count, seq_len=rows.seq_len)
        per_step = given.train.batch_size * rows.seq_len
        schedule = learning_rate(given.optimizer, given.optimizer.learning_rate, length, per_step)
        objective = build_objective(run_shape(config, rows, held_out, length.steps))

        def optimize(params: Tree) -> optax.GradientTransformation:
            check_exports(objective, params)
            groups = optimizer_groups(objective, given.optimizer)
            return build_optimizer(params, schedule, given.optimizer, groups=groups)

        return cls(
            config=given,
            objective=objective,
            optimizer=optimize,
            schedule=schedule,
            settings=loop_settings(
                given.train, length.steps, sequential=given.optimizer.order == "sequential"
            ),
            warmup=length.warmup,
        )

    def step(self, rows: Any, mesh: AnyMesh) -> accumulation.PlannedStep:
        """The step on a mesh."""
        ids = jax.ShapeDtypeStruct((self.settings.batch_size, rows.seq_len), jnp.int32)
        return accumulation.PlannedStep(
            self.objective, self.optimizer, self.settings, mesh, {"input_ids": ids}
        )


def with_accumulation(
    config: Config, rows: Any, held_out: Any, recorded: Mapping[str, Any] | None
) -> Config:
    """The configuration with a number for `train.accumulate=auto`. recorded: the configuration that
    the run in the work folder began with. Raises `UserError` where no number fits. Collective."""

    def find() -> int:
        trial = config
        if config["train"].get("minutes") is not None:  # no step depends on their number
            trial = config.replace({"train.minutes": None, "train.steps": 1}, given=False)
        plan, mesh = Plan.of(trial, rows, held_out), make_mesh(config["mesh"])
        plan.settings.check(mesh)
        step = plan.step(rows, mesh)
        return accumulation.fitting(step, imports_later=imports_later(plan.config.data.backend))

    return accumulation.settled(config, recorded, find)
