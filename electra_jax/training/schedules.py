"""Learning-rate schedules: warm-up times decay, both counted from step 0 (reference
`optimization.py`)."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from electra_jax.config.schedule import Schedule, Scheduled
from electra_jax.config.training import DECAYS
from electra_jax.errors import UserError

RateSchedule = Callable[[jax.Array | int], jax.Array]


def learning_rate_schedule(
    peak: Scheduled,
    total_steps: int,
    warmup_steps: int,
    *,
    decay: str = "linear",
    power: float = 1.0,
    decay_fraction: float = 0.1,
    decay_floor: float = 0.0,
    offset: int = 0,
    tokens_per_step: float | None = None,
) -> RateSchedule:
    """step → learning rate, float32.

    `linear` is the reference's peak · (1 − t/T)^power · min(1, t/warmup): the warm-up multiplies
    the decay, so the rate at step 0 is 0 and the peak is never quite reached. `wsd` is constant
    until the last `decay_fraction` of the run, then falls as 1 − √ to `decay_floor` of the peak
    (Hägele et al. 2024, arXiv:2405.18392). `offset` is added to the step
    (to continue a schedule that another run began).

    A `peak` that is itself a schedule, such as `cosine(1e-3, 1e-5)`, takes the place of `decay`;
    the warm-up multiplies it all the same. `tokens_per_step` is for one that counts tokens.
    """
    if decay not in DECAYS:
        raise UserError(f"optimizer.schedule={decay!r}: choose one of {', '.join(DECAYS)}")
    where = "optimizer.learning_rate"
    course = Schedule.parse(peak, where).over(total_steps, tokens_per_step, where)
    if not 0.0 <= course.minimum <= course.maximum < math.inf:
        raise UserError(f"{where}={peak}: must not be negative")

    def schedule(step: jax.Array | int) -> jax.Array:
        t = jnp.asarray(step, jnp.float32) + offset
        if not course.is_constant:
            warm = jnp.minimum(1.0, t / warmup_steps) if warmup_steps > 0 else 1.0
            return jnp.float32(course.at(t)) * warm
        done = jnp.clip(t / max(total_steps, 1), 0.0, 1.0)
        if decay == "linear":
            factor = (1.0 - done) ** power
        elif decay == "cosine":
            factor = 0.5 * (1.0 + jnp.cos(jnp.pi * done))
        elif decay == "wsd":
            tail = jnp.clip((done - (1.0 - decay_fraction)) / max(decay_fraction, 1e-9), 0.0, 1.0)
            factor = 1.0 - (1.0 - decay_floor) * jnp.sqrt(tail)
        else:
            factor = jnp.ones(())
        warm = jnp.minimum(1.0, t / warmup_steps) if warmup_steps > 0 else 1.0
        return jnp.float32(course.final) * factor * warm

    return schedule
