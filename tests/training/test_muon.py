"""Muon: what it does to a matrix, to which parameters, and that splitting changes nothing."""

import collections
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from devices import run_with_devices
from objectives.tiny import quick_jit, tiny_objective
from tiny_run import OVERRIDES, make_rows, models, pretrain

from electra_jax.config.training import NO_DECAY
from electra_jax.errors import UserError
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.base import ParameterGroup
from electra_jax.training.muon import orthogonal, scale_by_muon
from electra_jax.training.optimizer import build_optimizer, names
from electra_jax.training.schedules import learning_rate_schedule

SETTINGS = {"name": "muon", "weight_decay": 0.0, "no_decay": NO_DECAY, "clip_norm": 0.0}
RATE = learning_rate_schedule(0.1, 10, 0, decay="constant")
LAYER = "electra/encoder/layer/"


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def moved(params, *gradients, **settings):
    """{name: the last update}."""
    groups = settings.pop("groups", ())
    optimizer = build_optimizer(params, RATE, {**SETTINGS, **settings}, groups=groups)
    state = optimizer.init(params)
    update = quick_jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
    return {name: np.asarray(x) for name, x in flatten(updates).items()}


@pytest.mark.parametrize("shape", [(24, 24), (16, 64), (64, 16), (3, 20, 32)])
def test_the_singular_values_of_an_update_lie_around_one(shape):
    """Five steps of the polynomial on each singular value, the vectors kept."""
    x = np.asarray(normal(*shape))
    u, before, vt = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    before /= np.linalg.norm(before, axis=-1, keepdims=True)
    expected = before
    for _ in range(5):
        expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5
    for scale in (1.0, 1e-4, 1e4):
        found = np.swapaxes(u, -1, -2) @ np.asarray(orthogonal(scale * x)) @ np.swapaxes(vt, -1, -2)
        diagonal = np.diagonal(found, axis1=-2, axis2=-1)
        np.testing.assert_allclose(diagonal, expected, atol=2e-3)
        np.testing.assert_allclose(found - found * np.eye(found.shape[-1]), 0.0, atol=2e-3)
        plain = diagonal[before > 0.0015]
        assert 0.68 <= plain.min() and plain.max() <= 1.21
        assert plain.size >= diagonal.size - 1


def test_a_matrix_without_gradient_does_not_move():
    np.testing.assert_array_equal(orthogonal(jnp.zeros((4, 6))), 0.0)


@pytest.mark.parametrize("shape", [(24, 16), (16, 40)])
def test_plain_matrices_move_as_optax_s_do(shape):
    """Its momentum is bias-corrected: alike at once, and again when the correction has gone."""
    name = LAYER + "output/dense/kernel"
    plain = {name: optax.contrib.MuonDimensionNumbers()}
    theirs = optax.contrib.scale_by_muon(beta=0.5, weight_dimension_numbers=plain)
    ours = scale_by_muon(0.5)
    params = {name: jnp.zeros(shape)}
    states = [ours.init(params), theirs.init(params)]
    both = quick_jit(lambda g, s: [t.update(g, x) for t, x in zip((ours, theirs), s, strict=True)])
    for t in range(30):
        (mine, states[0]), (other, states[1]) = both({name: normal(*shape, seed=t)}, states)
        if t in (0, 29):
            expected = 0.2 * max(shape) ** 0.5 * other[name]
            np.testing.assert_allclose(mine[name], expected, atol=2e-5)


def test_an_update_is_as_large_as_adamw_s():
    params = {"electra": {"encoder": {"layer": {"a": {"kernel": normal(2, 48, 96)}}}}}
    gradient = jax.tree.map(lambda x: 1e-3 * x, params)
    (update,) = moved(params, gradient).values()
    rms = np.sqrt(np.mean(np.square(update), axis=(1, 2)))
    np.testing.assert_allclose(rms, 0.1 * 0.2, rtol=0.2)


@pytest.mark.parametrize("block", ["bert", "modern"])
def test_the_matrices_of_hidden_layers_are_muon_s_and_all_else_is_adamw_s(block):
    """By the moments: one of each matrix, two of every other parameter."""
    params, _ = jax.eval_shape(tiny_objective(block).init, jax.random.key(0))
    shapes = {name: x.shape for name, x in flatten(params).items()}
    hidden = {n for n in shapes if "/layer/" in n and n.endswith("kernel")}
    assert len(hidden) >= 8 and all(len(shapes[n]) == 3 for n in hidden)
    state = jax.eval_shape(build_optimizer(params, RATE, SETTINGS).init, params)
    held = collections.Counter(
        n for n in shapes for path in jax.tree.leaves(names(state)) if path.endswith("/" + n)
    )
    assert held == {n: 1 if n in hidden else 2 for n in shapes}


def test_layers_and_fused_matrices_are_orthogonal_each_for_itself():
    """The update of a stack is that of its layers and of the matrices in their columns alone."""
    shapes = {"attention/Wqkv": (2, 16, 48), "mlp/Wi": (2, 16, 40), "mlp/Wo": (2, 20, 16)}
    stack = {LAYER + f"{name}/kernel": normal(*shape) for name, shape in shapes.items()}
    updates = moved(stack, stack)
    for (name, x), count in zip(stack.items(), (3, 2, 1), strict=True):
        for layer, found in enumerate(updates[name]):
            pieces = np.split(np.asarray(x[layer]), count, axis=-1)
            for piece, part in zip(np.split(found, count, axis=-1), pieces, strict=True):
                expected = -0.1 * 0.2 * max(part.shape) ** 0.5 * np.asarray(orthogonal(part))
                np.testing.assert_allclose(piece, expected, atol=1e-6)


TWO = {"electra": {"encoder": {"layer": {"a": {"kernel": normal(1, 8, 6)}}}, "head": normal(6, 4)}}
KERNEL, HEAD = LAYER + "a/kernel", "electra/head"


def test_the_factor_and_decay_are_of_the_run_s_learning_rate():
    plain = moved(TWO, TWO)
    half = moved(TWO, TWO, muon_factor=0.5)
    np.testing.assert_allclose(half[KERNEL], 0.5 * plain[KERNEL], rtol=1e-5)
    np.testing.assert_array_equal(half[HEAD], plain[HEAD])
    decayed = moved(TWO, TWO, weight_decay=0.3)
    for name, x in flatten(TWO).items():
        np.testing.assert_allclose(decayed[name] - plain[name], -0.1 * 0.3 * x, atol=2e-6)
    other = moved(TWO, TWO, jax.tree.map(lambda x: x[..., ::-1], TWO), muon_momentum=0.5)
    assert not np.allclose(
        other[KERNEL], moved(TWO, TWO, jax.tree.map(lambda x: x[..., ::-1], TWO))[KERNEL]
    )


def test_it_goes_with_groups_and_frozen_parameters():
    plain = moved(TWO, TWO)
    groups = [ParameterGroup("head", "head", 0.5), ParameterGroup("rest", "")]
    grouped = moved(TWO, TWO, groups=groups)
    np.testing.assert_allclose(grouped[HEAD], 0.5 * plain[HEAD], rtol=1e-6)
    np.testing.assert_allclose(grouped[KERNEL], plain[KERNEL], rtol=1e-6)
    held = moved(TWO, TWO, freeze=("kernel",))
    np.testing.assert_array_equal(held[KERNEL], 0.0)
    np.testing.assert_array_equal(held[HEAD], plain[HEAD])


def test_a_matrix_needs_one_moment_and_no_second():
    state = build_optimizer(TWO, RATE, SETTINGS).init(TWO)
    shapes = [x.shape for x in jax.tree.leaves(state) if x.ndim]
    assert sorted(shapes) == [(1, 8, 6), (6, 4), (6, 4)]


def test_parameters_without_a_hidden_matrix_are_refused():
    with pytest.raises(UserError, match=r"optimizer\.name='muon': no matrix of a hidden layer"):
        moved({"head": normal(4, 4)}, {"head": normal(4, 4)})


MESH = """
import json
import jax, numpy as np
from objectives.tiny import quick_jit
from electra_jax.training.optimizer import build_optimizer
from electra_jax.training.sharding import make_mesh, state_shardings
name = "electra/encoder/layer/attention/Wqkv/kernel"
params = {name: np.random.default_rng(0).normal(size=(2, 16, 24)).astype(np.float32)}
optimizer = build_optimizer(params, lambda step: 0.1, {"name": "muon", "clip_norm": 0.0})
found = []
for shape, devices in (((1, 1, 1), 1), ((2, 2, 2), 8)):
    mesh = make_mesh(dict(zip(("data", "fsdp", "tensor"), shape)), jax.devices()[:devices])
    state = optimizer.init(params)
    where = (state_shardings(mesh, params), state_shardings(mesh, state))
    with jax.set_mesh(mesh):
        gradient, state = jax.device_put((params, state), where)
        update, _ = quick_jit(optimizer.update, out_shardings=where)(gradient, state, gradient)
    found.append(np.asarray(update[name]))
    parts = update[name].addressable_shards[0].data.shape
print("RESULT" + json.dumps({"parts": parts, "apart": float(np.abs(found[0] - found[1]).max())}))
"""


def test_a_matrix_that_a_mesh_splits_is_made_orthogonal_as_a_whole():
    found = json.loads(run_with_devices(8, MESH).split("RESULT")[1])
    assert found["parts"] == [2, 8, 12]
    assert found["apart"] < 1e-6


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path):
    rows = make_rows(tmp_path)
    given = [*OVERRIDES, f"--config.data.path={rows}", "--config.optimizer.name=muon"]
    given += ["--config.train.steps=6", "--config.train.eval_every=0"]
    whole = pretrain(given, tmp_path / "whole")
    stopped = pretrain(given, tmp_path / "stopped", killed_after=5)
    assert (stopped / "checkpoints/3").is_dir()
    assert models(pretrain(given, stopped)) == models(whole)
