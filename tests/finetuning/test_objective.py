"""Losses against torch-free formulas, and what must not change them: padding, order, splitting."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finetuning.tiny_task import CONFIG
from matrix import representative
from scipy.special import log_softmax
from scipy.stats import entropy

from electra_jax.finetuning.network import Network
from electra_jax.finetuning.objective import (
    FineTuneObjective,
    LossSettings,
    row_losses,
    row_weights,
)
from electra_jax.objectives.rng import Draws

RNG = np.random.default_rng(4)
KINDS = (
    "classification",
    "multilabel",
    "regression",
    "tagging",
    "multiple_choice",
    "question_answering",
)


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


@pytest.fixture(
    scope="module", params=representative(KINDS, "classification", "question_answering")
)
def case(request):
    kind = request.param
    objective = FineTuneObjective(network(kind))
    return kind, objective, jax.jit(objective.network.init)(jax.random.key(0))


def test_padding_changes_no_loss_and_no_gradient(case):
    """More positions and rows of padding, with dropout on."""
    kind, objective, params = case
    batch = make_batch(kind)
    run = jax.jit(jax.value_and_grad(lambda p, b: loss_of(objective, p, b, True)[0]))
    value, gradient = run(params, {n: x[:3] for n, x in batch.items()})
    wide, wide_gradient = run(params, widen(batch, 8))
    np.testing.assert_allclose(wide, value, rtol=1e-5)
    difference = jax.tree.map(lambda a, b: jnp.linalg.norm(a - b), gradient, wide_gradient)
    size = float(jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))))
    assert max(float(d) for d in jax.tree.leaves(difference)) < 1e-4 * size


@pytest.mark.parametrize("case", ["multiple_choice", "question_answering"], indirect=True)
def test_a_row_of_padding_has_nothing_to_spread_a_label_over(case):
    kind, objective, params = case
    objective = FineTuneObjective(objective.network, LossSettings(label_smoothing=0.1))
    run = jax.jit(jax.value_and_grad(lambda p, b: loss_of(objective, p, b)[0]))
    value, gradient = run(params, make_batch(kind))
    alone, _ = run(params, {n: x[:3] for n, x in make_batch(kind).items()})
    np.testing.assert_allclose(value, alone, rtol=1e-5)
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradient))


@pytest.mark.parametrize("case", ["classification", "tagging"], indirect=True)
def test_splitting_a_batch_changes_no_gradient(case):
    """The sum of the parts' gradients over the whole batch's weight, as the loop accumulates."""
    kind, objective, params = case
    batch = make_batch(kind, rows=8)

    def loss(params, part, rows):
        draws = Draws(jax.random.key(3), jnp.zeros((), jnp.int32), rows)
        return objective.loss(params, {}, part, draws, True)[0]["loss"][0]

    gradient = jax.jit(jax.grad(loss))
    whole = gradient(params, batch, jnp.arange(8))
    parts = [
        gradient(params, {n: x[i : i + 2] for n, x in batch.items()}, jnp.arange(i, i + 2))
        for i in (0, 2, 4, 6)
    ]
    summed = jax.tree.map(lambda *g: sum(g), *parts)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(summed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    weights = sum(
        float(objective.weights({n: x[i : i + 2] for n, x in batch.items()})["loss"])
        for i in (0, 2, 4, 6)
    )
    assert weights == float(objective.weights(batch)["loss"])


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
    soft = 0.8 * labels + 0.1
    weighed = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)) * [1.0, 2.0, 3.0]
    settings = LossSettings(label_smoothing=0.2, class_weights=(1.0, 2.0, 3.0))
    found = row_losses("multilabel", {"logits": jnp.asarray(logits)}, batch, settings)
    np.testing.assert_allclose(found, weighed.mean(-1), rtol=1e-5)


def test_r_drop_adds_the_divergence_of_two_passes():
    """Without dropout the passes agree and nothing is added; with it the sum is as Wu et al.'s."""
    batch = make_batch("classification")
    still = FineTuneObjective(
        Network(CONFIG.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
                "classification", 3, dropout_rate=0.0)
    )  # fmt: skip
    params = jax.jit(still.network.init)(jax.random.key(0))
    plain = jax.jit(lambda p: loss_of(still, p, batch, True)[0])(params)
    doubled = jax.jit(lambda p: loss_of(_with(still, r_drop=5.0), p, batch, True)[0])(params)
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
    found = jax.jit(lambda p: loss_of(_with(moving, r_drop=2.0), p, batch, True)[0])(params)
    assert divergence[rows].max() > 1e-4
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("case", ["classification", "multiple_choice"], indirect=True)
def test_adversarial_noise_raises_the_training_loss_alone(case):
    kind, objective, params = case
    batch = make_batch(kind)
    params = jax.tree.map(lambda x: x * 3, params)
    noisy = _with(objective, fgm=0.05)

    def run(o, train):
        return float(jax.jit(lambda p: loss_of(o, p, batch, train)[0])(params))

    assert run(noisy, True) > run(objective, True)
    assert run(noisy, False) == run(objective, False)


def _with(objective, **settings):
    return dataclasses.replace(
        objective, settings=dataclasses.replace(objective.settings, **settings)
    )
