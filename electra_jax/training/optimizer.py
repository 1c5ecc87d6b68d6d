"""Optimizers as optax transformations; regular expressions over parameter names choose which decay,
are frozen or learn slower.

`adam_reference` is the reference's: no bias correction, epsilon outside the root, decoupled decay,
clip by global norm. `muon` is Muon for the matrices of hidden layers, AdamW for all else;
`stable_adamw` is AdamW with the update of each tensor limited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from electra_jax.config.fields import read
from electra_jax.config.training import OptimizerSettings
from electra_jax.errors import UserError
from electra_jax.objectives.base import Objective, ParameterGroup
from electra_jax.training.muon import matrices, scale_by_muon
from electra_jax.training.schedules import RateSchedule

Tree = Any


def names(tree: Tree) -> Tree:
    """A tree of the `/`-joined names of a tree's leaves."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path, simple=True, separator="/"), tree
    )


def matches(tree: Tree, patterns: Sequence[str]) -> Tree:
    """A tree of bools: does any pattern occur in the leaf's name?"""
    try:
        compiled = [re.compile(p) for p in patterns]
    except re.error as error:
        raise UserError(f"not a regular expression over parameter names: {error}") from error
    return jax.tree.map(lambda name: any(p.search(name) for p in compiled), names(tree))


def first_match(tree: Tree, table: Sequence[tuple[str, Any]], what: str) -> Tree:
    """The value of the first pattern that occurs in each leaf's name; an uncovered name is an
    error that prints it."""
    uncovered = []

    def find(name: str) -> Any:
        for pattern, value in table:
            if re.search(pattern, name):
                return value
        uncovered.append(name)
        return None

    found = jax.tree.map(find, names(tree))
    if uncovered:
        raise UserError(f"{what}: no pattern covers {', '.join(uncovered[:5])}")
    return found


# All parameters where an objective has no groups of its own, and those that optimizer.freeze holds.
_ALL = ParameterGroup("trained", "")
_FROZEN = "frozen"


class AdamState(NamedTuple):
    """First and second moments, float32, like the parameters."""

    m: Tree
    v: Tree


def scale_by_adam_reference(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-6
) -> optax.GradientTransformation:
    """m / (√v + ε) without bias correction, as the reference's AdamWeightDecayOptimizer."""

    def init(params: Tree) -> AdamState:
        zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
        return AdamState(zeros, jax.tree.map(jnp.zeros_like, zeros))

    def update(grads: Tree, state: AdamState, params: Tree = None) -> tuple[Tree, AdamState]:
        m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.m, grads)
        v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * jnp.square(g), state.v, grads)
        return jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), m, v), AdamState(m, v)

    return optax.GradientTransformation(init, update)


# Parameters whose first axis is the layers of a stack.
_STACKS = r"encoder/(layer|attention_norm)/"


def limit_updates(
    inner: optax.GradientTransformation, b2: float, eps: float
) -> optax.GradientTransformation:
    """StableAdamW (Wortsman et al. 2023, arXiv:2304.13013, algorithm 2): divides the updates of
    each tensor, decay included, by max(1, RMS of gradient / √v), v the unbiased second moment.

    `inner` is a chain that begins with `optax.scale_by_adam`. A layer's part of a stack is a tensor
    of its own.
    """

    def limited(path: Any, update: jax.Array, gradient: jax.Array, v: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        axes = tuple(range(int(bool(re.search(_STACKS, name))), update.ndim))
        ratio = jnp.square(gradient) / jnp.maximum(v, eps**2)
        return update / jnp.maximum(1.0, jnp.sqrt(jnp.mean(ratio, axes, keepdims=True)))

    def update(grads: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
        updates, state = inner.update(grads, state, params)
        moments = state[0]
        v = jax.tree.map(lambda v: v / (1 - b2**moments.count), moments.nu)
        return jax.tree_util.tree_map_with_path(limited, updates, grads, v), state

    return optax.GradientTransformation(inner.init, update)


def with_adam_moments(opt_state: Tree, m: Tree, v: Tree) -> Tree:
    """An optimizer's state with the reference Adam's moments in place of its own.

    Raises `UserError` where the optimizer is another, or the trees have other names or shapes.
    """
    found = 0

    def replace(node: Any) -> Any:
        nonlocal found
        if not isinstance(node, AdamState):
            return node
        shapes = [jax.tree.map(lambda x: x.shape, tree) for tree in (node.m, m, v)]
        if shapes[0] != shapes[1] or shapes[0] != shapes[2]:
            raise UserError("init_slots: the moments are not of this run's parameters")
        found += 1
        return AdamState(m, v)

    changed = jax.tree.map(replace, opt_state, is_leaf=lambda x: isinstance(x, AdamState))
    if found != 1:
        raise UserError(
            "init_slots: only optimizer.name='adam_reference' without optimizer.freeze or "
            "parameter groups has the moments of a TF1 checkpoint"
        )
    return changed


def scale_by_tree(multipliers: Tree) -> optax.GradientTransformation:
    """Multiplies every update by its leaf of `multipliers` (a number, or an array that
    broadcasts). Where `optax.partition` has taken an update out, nothing happens."""

    def absent(update: Any) -> bool:
        return isinstance(update, optax.MaskedNode)

    def update(updates: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
        def scale(u: Any, c: Any) -> Any:
            return u if absent(u) else u * c

        return jax.tree.map(scale, updates, multipliers, is_leaf=absent), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def build_optimizer(
    params: Tree,
    schedule: RateSchedule,
    settings: OptimizerSettings | Mapping[str, Any],
    multipliers: Tree = None,
    groups: Sequence[ParameterGroup] = (),
) -> optax.GradientTransformation:
    """clip → moments → decoupled weight decay → (trust ratio) → (layer multipliers) → −learning
    rate.

    `settings` are the config's `optimizer.*`, or a mapping of some of them; the learning rate and
    its schedule are not read. `params` may be abstract. `multipliers` is a tree like `params` of
    learning-rate factors. Each of `groups` has a chain of its own, clipped by its own norm; without
    any there is one chain for all.
    """
    if not isinstance(settings, OptimizerSettings):
        settings = read(OptimizerSettings, settings, "optimizer")
    if len({group.name for group in groups} - {_FROZEN}) < len(groups):
        raise UserError(f"parameter_groups: names must differ from each other and from {_FROZEN!r}")
    if settings.name == "muon" and not any(map(matrices, jax.tree.leaves(names(params)))):
        raise UserError(
            "optimizer.name='muon': no matrix of a hidden layer is trained; choose adamw"
        )
    chains: dict[str, optax.GradientTransformation] = {
        group.name: optax.set_to_zero()
        if group.frozen
        else _chain(params, schedule, settings, multipliers, group)
        for group in groups or (_ALL,)
    }
    freeze = settings.freeze
    if not freeze and not groups:
        return chains[_ALL.name]
    for pattern in freeze:
        if not any(jax.tree.leaves(matches(params, [pattern]))):
            raise UserError(
                f"optimizer.freeze: {pattern!r} is in no parameter's name. Names are such as "
                f"{', '.join(jax.tree.leaves(names(params))[:3])}; the layers of a stack share one"
            )
    table = [(group.pattern, group.name) for group in groups or (_ALL,)]
    labels = jax.tree.map(
        lambda held, group: _FROZEN if held else group,
        matches(params, freeze),
        first_match(params, table, "parameter_groups"),
    )
    learning = {group.name for group in groups or (_ALL,) if not group.frozen}
    if learning.isdisjoint(jax.tree.leaves(labels)):
        raise UserError(f"optimizer.freeze={list(freeze)!r} freezes every parameter")
    return optax.partition({**chains, _FROZEN: optax.set_to_zero()}, labels)


def optimizer_groups(objective: Objective, settings: Any) -> Sequence[ParameterGroup]:
    """The groups of an objective's parameters, or of its networks where `settings` (the config's
    `optimizer.*`) have some for one of them.

    Networks have groups of their own, each clipped by its own norm, as soon as one of these
    settings is given, or they are updated in turn.
    """
    parts, groups = objective.parts(), objective.parameter_groups()
    given = {
        name: value
        for name in _OF_NETWORKS
        if (value := getattr(settings, name, None)) not in (None, "simultaneous")
    }
    if not given:
        return groups
    where = ", ".join(f"optimizer.{name}={value!r}" for name, value in given.items())
    if not parts or groups:
        why = "gives its parameters groups of its own" if groups else "trains one network"
        raise UserError(
            f"{where}: {type(objective).__name__} {why}: leave "
            f"{'it' if len(given) == 1 else 'them'} unset"
        )
    if "order" in given and not objective.in_turn:
        raise UserError(
            f"{where}: {type(objective).__name__} updates its networks at once: one's update would "
            "change what another trains. Where it has a generator of its own embeddings "
            "(model.sharing=gdes, nes or none), ELECTRA updates them in turn"
        )
    return [
        ParameterGroup(
            part.name,
            part.pattern,
            given.get(f"{part.name}_factor", 1.0),
            given.get(f"{part.name}_clip_norm"),
            weight_decay=given.get(f"{part.name}_weight_decay"),
        )
        for part in parts
    ]


_OF_NETWORKS = (
    "order",
    *(
        f"{network}_{setting}"
        for network in ("generator", "discriminator")
        for setting in ("factor", "clip_norm", "weight_decay")
    ),
)


def _chain(
    params: Tree,
    schedule: RateSchedule,
    settings: OptimizerSettings,
    multipliers: Tree,
    group: ParameterGroup,
) -> optax.GradientTransformation:
    """What happens to the gradient of one group."""
    name = settings.name
    b1, b2, eps = settings.beta1, settings.beta2, settings.epsilon
    if name == "adam_reference":
        moments = scale_by_adam_reference(b1, b2, eps)
    else:
        moments = optax.scale_by_adam(b1, b2, eps)
    if name == "muon":
        hidden = jax.tree.map(lambda n: "muon" if matrices(n) else "adamw", names(params))
        muon = scale_by_muon(settings.muon_momentum)
        moments = optax.partition({"muon": muon, "adamw": moments}, hidden)
    clip = settings.clip_norm if group.clip_norm is None else group.clip_norm
    parts = [moments]
    decay = settings.weight_decay if group.weight_decay is None else group.weight_decay
    if decay:
        decayed = jax.tree.map(lambda no: not no, matches(params, settings.no_decay))
        parts += [optax.add_decayed_weights(decay, mask=decayed)]
    if name == "stable_adamw":
        parts = [limit_updates(optax.chain(*parts), b2, eps)]
    if clip:
        parts = [optax.clip_by_global_norm(clip), *parts]
    if name == "lamb":
        parts += [optax.scale_by_trust_ratio()]
    if name == "muon" and settings.muon_factor != 1.0:
        factors = {"muon": settings.muon_factor, "adamw": 1.0}
        parts += [scale_by_tree(jax.tree.map(factors.__getitem__, hidden))]
    if multipliers is not None:
        parts += [scale_by_tree(multipliers)]
    if group.learning_rate != 1.0:
        parts += [optax.scale(group.learning_rate)]
    return optax.chain(*parts, optax.scale_by_learning_rate(schedule))
