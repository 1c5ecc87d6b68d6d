"""One optimizer step and one evaluation step, as pure functions of (state, batch), for any
objective."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from electra_jax.config.schedule import Schedule, value_at
from electra_jax.objectives.base import (
    COEFFICIENT,
    DENOMINATOR_EPSILON,
    Batch,
    Objective,
    Sums,
    TrainedPart,
    Tree,
)
from electra_jax.objectives.rng import Draws
from electra_jax.training.optimizer import first_match


@struct.dataclass
class TrainState:
    """Everything that a restart needs; the rest is a function of it. `step` is int32 []."""

    step: jax.Array
    params: Tree
    opt_state: Tree
    frozen: Tree


RUN_STREAMS = {"init": 1, "train": 2, "eval": 3}


def run_key(seed: int, stream: str) -> jax.Array:
    """The typed key of one use of a run's seed."""
    return jax.random.fold_in(jax.random.key(seed), RUN_STREAMS[stream])


def run_key_data(seed: int, stream: str) -> np.ndarray:
    """`run_key` as uint32 [2] on the host: an argument of a compiled step, so that runs with
    different seeds share its program."""
    return np.asarray(jax.random.key_data(run_key(seed, stream)))


def _key(seed: int, stream: str, key_data: jax.Array | None) -> jax.Array:
    return run_key(seed, stream) if key_data is None else jax.random.wrap_key_data(key_data)


def init_state(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    seed: int,
    key_data: jax.Array | None = None,
) -> TrainState:
    """A fresh state; a pure function of the seed (or its `run_key_data`) on any mesh."""
    params, frozen = objective.init(_key(seed, "init", key_data))
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), frozen)


def pack(sums: Sums) -> jax.Array:
    """All sums as one float32 vector (one transfer a step), in the order of `Packing`."""
    return jnp.concatenate([jnp.ravel(x).astype(jnp.float32) for x in jax.tree.leaves(sums)])


class Packing:
    """Turns the vectors of `pack` back into named sums, in float64."""

    def __init__(self, sums: Any) -> None:
        leaves, self._tree = jax.tree.flatten(sums)
        self._shapes = [leaf.shape for leaf in leaves]
        self.size = sum(int(np.prod(s)) for s in self._shapes)

    def unpack(self, vector: np.ndarray) -> dict[str, tuple[Any, Any]]:
        """{name: (sum, weight)} from a vector [size]."""
        ends = np.cumsum([int(np.prod(s)) for s in self._shapes])[:-1]
        parts = np.split(np.asarray(vector, np.float64), ends)
        leaves = [p.reshape(s) for p, s in zip(parts, self._shapes, strict=True)]
        return jax.tree.unflatten(self._tree, leaves)


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    seed: int,
    accumulate: int = 1,
    sequential: bool = False,
) -> Callable[..., tuple[TrainState, Sums]]:
    """(state, batch, `run_key_data` of the seed or nothing) → (state, sums).

    The batch is split into `accumulate` microbatches; every denominator is the whole batch's,
    computed first, so that splitting changes nothing but rounding. Sums also carry `gradient_norm`,
    before clipping, and the coefficients that change during the run.

    sequential: the gradient of each of the objective's `parts` is taken after the update of those
    before it. Every part has a chain of its own in the optimizer (`optimizer_groups`).
    """
    scheduled = {
        name
        for name, c in objective.coefficients.items()
        if isinstance(c, Schedule) and not c.is_constant
    }

    def train_step(
        state: TrainState, batch: Batch, key_data: jax.Array | None = None
    ) -> tuple[TrainState, Sums]:
        key = _key(seed, "train", key_data)
        coefficients = {n: value_at(c, state.step) for n, c in objective.coefficients.items()}
        denominators = objective.weights(batch, state.step)
        size = next(iter(batch.values())).shape[0]
        rows = jnp.arange(size, dtype=jnp.int32)

        def microbatch_loss(
            params: Tree, part: Batch, part_rows: jax.Array, terms_of: Any = None
        ) -> Any:
            draws = Draws(key, state.step, part_rows)
            if terms_of is not None and terms_of is not first:
                part = {**part, **objective.kept(state.params, state.frozen, part, draws)}
            terms, metrics = objective.loss(params, state.frozen, part, draws, True)
            total = sum(
                c * terms[name][0] / (denominators[name] + DENOMINATOR_EPSILON)
                for name, c in coefficients.items()
                if terms_of is None or name in terms_of.terms
            )
            return total, {**terms, **metrics}

        def gradient(params: Tree, terms_of: Any = None) -> tuple[Tree, Sums]:
            of = jax.grad(functools.partial(microbatch_loss, terms_of=terms_of), has_aux=True)
            if accumulate == 1:
                return of(params, batch, rows)
            parts = jax.tree.map(
                lambda x: x.reshape(accumulate, size // accumulate, *x.shape[1:]), (batch, rows)
            )
            shapes = jax.eval_shape(of, params, *jax.tree.map(lambda x: x[0], parts))
            zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

            def add(carry: Any, part: Any) -> Any:
                return jax.tree.map(jnp.add, carry, of(params, *part)), None

            return jax.lax.scan(add, zeros, parts)[0]

        first = objective.parts()[0] if sequential else None
        if not sequential:
            grads, sums = gradient(state.params)
        else:
            grads, sums = _in_turn(objective, optimizer, state, gradient)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        sums["gradient_norm"] = (optax.tree.norm(grads), jnp.ones(()))
        for name in scheduled:
            sums[COEFFICIENT + name] = (coefficients[name], jnp.ones(()))
        return TrainState(state.step + 1, params, opt_state, state.frozen), sums

    return train_step


def _in_turn(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    gradient: Callable[[Tree, TrainedPart], tuple[Tree, Sums]],
) -> tuple[Tree, Sums]:
    """(gradients, sums) of the objective's parts, each taken after the updates of those before it.

    A part's update depends on its own gradient alone, so one update of all at the end repeats those
    made on the way.
    """
    parts = objective.parts()
    owner = first_match(state.params, [(p.pattern, p.name) for p in parts], "parts")
    grads = jax.tree.map(jnp.zeros_like, state.params)
    sums: Sums = {}
    params, done = state.params, set[str]()
    for part in parts:
        found, measured = gradient(params, part)
        grads = jax.tree.map(
            lambda name, new, old, part=part: new if name == part.name else old,
            owner, found, grads,
        )  # fmt: skip
        earlier = {n for p in parts if p.name in done for n in (*p.terms, *p.sums)}
        sums |= {name: value for name, value in measured.items() if name not in earlier}
        done.add(part.name)
        updates, _ = optimizer.update(grads, state.opt_state, state.params)
        params = jax.tree.map(
            lambda name, p, u: p + u if name in done else p, owner, state.params, updates
        )
    return grads, sums


class PackedStep:
    """(state, batch) → (state, float32 vector [n] of all sums), to be compiled; `sums` are their
    shapes, known once the step has been traced."""

    __name__ = "train_step"  # in profiles and in the log of compilations

    def __init__(
        self,
        objective: Objective,
        optimizer: optax.GradientTransformation,
        seed: int,
        accumulate: int = 1,
        sequential: bool = False,
    ) -> None:
        self._step = make_train_step(objective, optimizer, seed, accumulate, sequential)
        self.sums: Any = None

    def __call__(
        self, state: TrainState, batch: Batch, key_data: jax.Array | None = None
    ) -> tuple[TrainState, jax.Array]:
        state, sums = self._step(state, batch, key_data)
        self.sums = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), sums)
        return state, pack(sums)


def make_eval_step(
    objective: Objective, seed: int
) -> Callable[[Tree, Tree, Batch, jax.Array], Sums]:
    """(params, frozen, batch, first row) → sums. The random numbers depend on the row alone:
    every evaluation masks the same positions of a row."""

    def eval_step(params: Tree, frozen: Tree, batch: Batch, first_row: jax.Array) -> Sums:
        size = next(iter(batch.values())).shape[0]
        rows = first_row + jnp.arange(size, dtype=jnp.int32)
        draws = Draws(run_key(seed, "eval"), jnp.zeros((), jnp.int32), rows)
        terms, metrics = objective.loss(params, frozen, batch, draws, False)
        return {**terms, **metrics}

    return eval_step
