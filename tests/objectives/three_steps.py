"""Three optimizer steps from given parameters, to compare objectives bit for bit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from objectives.tiny import quick_jit

from electra_jax.config.training import NO_DECAY
from electra_jax.training.optimizer import build_optimizer
from electra_jax.training.schedules import learning_rate_schedule
from electra_jax.training.step import TrainState, make_train_step

SETTINGS = {
    "name": "adam_reference", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6,
    "weight_decay": 0.01, "no_decay": NO_DECAY, "clip_norm": 1.0,
}  # fmt: skip


def three_steps(
    objective: Any, params: Any, batch: Any, accumulate: int = 1, **changes: Any
) -> Any:
    """The parameters after three steps, on the host; `changes` of the optimizer's settings."""
    schedule = learning_rate_schedule(1e-3, 100, 0, decay="constant")
    optimizer = build_optimizer(
        params, schedule, {**SETTINGS, **changes}, groups=objective.parameter_groups()
    )
    state = TrainState(jnp.int32(0), params, quick_jit(optimizer.init)(params), {})
    step = quick_jit(make_train_step(objective, optimizer, 0, accumulate))
    for _ in range(3):
        state, _ = step(state, batch)
    return jax.device_get(state.params)
