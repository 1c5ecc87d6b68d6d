"""Losses against torch-free formulas, and what must not change them: padding, order, splitting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finetuning.tiny_task import CONFIG
from scipy.special import log_softmax
from scipy.stats import entropy

from electra_jax.finetuning.networks import Network
from electra_jax.finetuning.objective import (
    FineTuneObjective,
    LossSettings,
    row_losses,
    row_weights,
)
from electra_jax.objectives.draws import Draws
from electra_jax.training.optimizer import build_optimizer
from electra_jax.training.step import init_state, make_train_step

RNG = np.random.default_rng(4)
KINDS = (
    "classification",
    "multilabel",
    "regression",
    "tagging",
    "multiple_choice",
    "question_answering",
)
ADAM = {
    "name": "adamw",
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-6,
    "weight_decay": 0.0,
    "no_decay": (),
    "clip_norm": 1.0,
}


def network(kind):
    return Network(CONFIG, kind, 1 if kind == "regression" else 3)


def make_batch(kind, rows=4, length=16, seed=0):
    """A batch of a kind with rows of different lengths, the last of them a row of padding."""
    rng = np.random.default_rng(seed)
    shape = (rows, 3, length) if kind == "multiple_choice" else (rows, length)
    lengths = rng.integers(6, length - 2, shape[:-1]).astype(np.int32)
    lengths[-1] = 0
    inside = np.arange(length) < lengths[..., None]
    batch = {
        "input_ids": np.where(inside, rng.integers(5, 90, shape), 0).astype(np.int32),
        "token_type_ids": np.zeros(shape, np.int32),
        "lengths": lengths,
        "weight": (np.arange(rows) < rows - 1).astype(np.float32),
    }
    if kind in ("classification", "multiple_choice"):
        batch["label"] = rng.integers(0, 3, rows).astype(np.int32)
    elif kind == "multilabel":
        batch["labels"] = rng.integers(0, 2, (rows, 3)).astype(np.float32)
    elif kind == "regression":
        batch["target"] = rng.normal(size=rows).astype(np.float32)
    elif kind == "tagging":
        batch["word_positions"] = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
        tags = rng.integers(0, 3, (rows, length)).astype(np.int32)
        batch["tags"] = np.where(inside, tags, -1)
    else:
        batch["answer_mask"] = inside.astype(np.int32)
        batch["start_positions"] = np.minimum(2, lengths).astype(np.int32)
        batch["end_positions"] = np.minimum(4, lengths).astype(np.int32)
        batch["is_impossible"] = np.zeros(rows, np.int32)
    return {n: jnp.asarray(x) for n, x in batch.items()}


def widen(batch, more):
    """The same batch with `more` further positions of padding."""
    length = batch["input_ids"].shape[-1]
    fill = {"tags": -1}
    return {
        n: jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, more)], constant_values=fill.get(n, 0))
        if x.ndim > 1 and x.shape[-1] == length
        else x
        for n, x in batch.items()
    }


def loss_of(objective, params, batch, train=False):
    draws = Draws(jax.random.key(3), jnp.zeros((), jnp.int32), jnp.arange(len(batch["weight"])))
    terms, metrics = objective.loss(params, {}, batch, draws, train)
    total, weight = terms["loss"]
    return total / weight, metrics


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    kind = request.param
    objective = FineTuneObjective(network(kind))
    return kind, objective, jax.jit(objective.init)(jax.random.key(0))[0]


def test_padding_changes_no_loss_and_no_gradient(case):
    """Positions and rows of padding, with dropout on."""
    kind, objective, params = case
    batch = make_batch(kind)
    run = jax.jit(jax.value_and_grad(lambda p, b: loss_of(objective, p, b, True)[0]))
    value, gradient = run(params, batch)
    wide, wide_gradient = run(params, widen(batch, 8))
    np.testing.assert_allclose(wide, value, rtol=1e-5)
    fewer, fewer_gradient = run(params, {n: x[:3] for n, x in batch.items()})
    np.testing.assert_allclose(fewer, value, rtol=1e-5)
    for other in (wide_gradient, fewer_gradient):
        difference = jax.tree.map(lambda a, b: jnp.linalg.norm(a - b), gradient, other)
        size = float(jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))))
        assert max(float(d) for d in jax.tree.leaves(difference)) < 1e-4 * size


def test_accumulation_changes_no_step(case):
    kind, objective, _ = case
    batch = make_batch(kind, rows=8)

    def optimizer(params):
        return build_optimizer(params, lambda step: jnp.float32(1e-3), ADAM)

    states = {}
    for parts in (1, 4):
        tx = optimizer(jax.eval_shape(objective.init, jax.random.key(0))[0])
        state = init_state(objective, tx, 0)
        state, sums = jax.jit(make_train_step(objective, tx, 0, parts))(state, batch)
        states[parts] = (state.params, float(sums["loss"][0] / sums["loss"][1]))
    assert states[1][1] == pytest.approx(states[4][1], rel=1e-5)
    for a, b in zip(*(jax.tree.leaves(states[n][0]) for n in (1, 4)), strict=True):
        # Adam's first step is ± the learning rate where a gradient is not zero.
        assert np.mean(np.abs(a - b) > 2e-4) < 0.02


def test_single_labels_are_cross_entropy():
    logits = RNG.normal(size=(3, 4)).astype(np.float32)
    batch = {"label": jnp.asarray([1, 3, 0]), "weight": jnp.ones(3)}
    outputs = {"logits": jnp.asarray(logits)}
    expected = -log_softmax(logits, -1)[np.arange(3), [1, 3, 0]]
    found = row_losses("classification", outputs, batch, LossSettings())
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    smoothed = row_losses("classification", outputs, batch, LossSettings(label_smoothing=0.1))
    mean = -log_softmax(logits, -1).mean(-1)
    np.testing.assert_allclose(smoothed, 0.9 * expected + 0.1 * mean, rtol=1e-5)


def test_class_weights_weigh_the_mean():
    settings = LossSettings(class_weights=(1.0, 3.0))
    batch = {"label": jnp.asarray([0, 1, 1]), "weight": jnp.asarray([1.0, 1.0, 0.0])}
    weights = row_weights("classification", batch, settings)
    assert weights.tolist() == [1.0, 3.0, 0.0]
    tags = {"tags": jnp.asarray([[0, 1, -1]]), "weight": jnp.ones(1)}
    assert row_weights("tagging", tags, settings).tolist() == [[1.0, 3.0, 0.0]]


def test_several_labels_are_binary_cross_entropies():
    logits = RNG.normal(size=(2, 3)).astype(np.float32)
    labels = np.array([[1, 0, 1], [0, 0, 1]], np.float32)
    p = 1 / (1 + np.exp(-logits))
    expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(-1)
    batch = {"labels": jnp.asarray(labels)}
    found = row_losses("multilabel", {"logits": jnp.asarray(logits)}, batch, LossSettings())
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_r_drop_adds_the_divergence_of_two_passes():
    """Without dropout the passes agree and nothing is added; with it the sum is as Wu et al.'s."""
    batch = make_batch("classification")
    still = FineTuneObjective(
        Network(CONFIG.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
                "classification", 3, dropout_rate=0.0)
    )  # fmt: skip
    params = jax.jit(still.init)(jax.random.key(0))[0]
    plain, _ = loss_of(still, params, batch, True)
    doubled, _ = loss_of(_with(still, r_drop=5.0), params, batch, True)
    np.testing.assert_allclose(doubled, plain, rtol=1e-6)

    moving = FineTuneObjective(network("classification"))
    params = jax.tree.map(lambda x: x * 5, params)
    noise = Draws(jax.random.key(3), jnp.zeros((), jnp.int32), jnp.arange(4)).noise(
        "discriminator_dropout"
    )
    first, second = (
        np.asarray(moving.network(params, batch, n, True)["logits"]) for n in (noise, noise.fold(7))
    )
    label, rows = np.asarray(batch["label"]), slice(0, 3)
    p, q = np.exp(log_softmax(first, -1)), np.exp(log_softmax(second, -1))
    cross = [-log_softmax(x, -1)[np.arange(4), label] for x in (first, second)]
    divergence = 0.5 * (entropy(p, q, axis=1) + entropy(q, p, axis=1))
    expected = (0.5 * (cross[0] + cross[1]) + 2.0 * divergence)[rows].mean()
    found, _ = loss_of(_with(moving, r_drop=2.0), params, batch, True)
    assert divergence[rows].max() > 1e-4
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_adversarial_noise_raises_the_loss_and_is_bounded(case):
    kind, objective, params = case
    batch = make_batch(kind)
    params = jax.tree.map(lambda x: x * 3, params)
    plain, _ = jax.jit(lambda p: loss_of(objective, p, batch, True))(params)
    small = _with(objective, fgm=0.05)
    raised, _ = jax.jit(lambda p: loss_of(small, p, batch, True))(params)
    assert float(raised) > float(plain)
    evaluated, _ = jax.jit(lambda p: loss_of(small, p, batch, False))(params)
    unchanged, _ = jax.jit(lambda p: loss_of(objective, p, batch, False))(params)
    assert float(evaluated) == float(unchanged)


def _with(objective, **settings):
    import dataclasses

    return dataclasses.replace(
        objective, settings=dataclasses.replace(objective.settings, **settings)
    )
