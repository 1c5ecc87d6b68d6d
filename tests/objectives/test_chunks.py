"""Functions of positions by chunks: the same values and gradients, and never all logits at once."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import configured_objective, draws_of, quick_jit, rows_of

from electra_jax.objectives import chunks
from electra_jax.objectives.chunks import by_chunks
from electra_jax.objectives.losses import masked_lm_loss

BATCH, LENGTH, WIDTH, VOCAB = 3, 11, 4, 50


@pytest.mark.parametrize("positions", [1, 6, 15, 33])
def test_values_and_gradients_are_those_of_the_whole(positions):
    """Chunks of 1, 2, 5 and 11 of 11 positions."""
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.normal(size=(BATCH, LENGTH, WIDTH)), jnp.float32)
    table = jnp.asarray(rng.normal(size=(WIDTH, VOCAB)), jnp.float32)
    targets = jnp.asarray(rng.integers(0, VOCAB, (BATCH, LENGTH)))

    def losses(hidden, table, positions):
        def scored(hidden, targets):
            logits = hidden @ table
            return masked_lm_loss(logits, targets), jnp.argmax(logits, -1)

        return by_chunks(scored, hidden, targets, positions=positions)

    whole, found = (losses(hidden, table, n) for n in (10**9, positions))
    np.testing.assert_allclose(found[0], whole[0], rtol=1e-6)
    np.testing.assert_array_equal(found[1], whole[1])
    gradients = [
        jax.grad(lambda h, t, n=n: jnp.sum(losses(h, t, n)[0] ** 2), (0, 1))(hidden, table)
        for n in (10**9, positions)
    ]
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


def largest(jaxpr):
    """The most numbers that any value inside a traced function holds."""
    sizes = [math.prod(v.aval.shape) for e in jaxpr.eqns for v in e.outvars]
    inner = [
        largest(getattr(part, "jaxpr", part))
        for e in jaxpr.eqns
        for value in e.params.values()
        for part in (value if isinstance(value, tuple | list) else [value])
        if hasattr(getattr(part, "jaxpr", part), "eqns")
    ]
    return max([*sizes, *inner, 0])


@pytest.mark.parametrize("positions", [8, 64])
@pytest.mark.parametrize("name", ["all_tokens_mlm", "electric"])
def test_a_training_step_never_holds_the_logits_of_all_positions(monkeypatch, name, positions):
    """The gradient of the loss; with chunks as long as rows it does hold them."""
    monkeypatch.setattr(chunks.by_chunks, "__kwdefaults__", {"positions": positions})
    objective = configured_objective(name, "objective.mask_prob=0.05")
    params = jax.eval_shape(objective.init, jax.random.key(0))[0]
    batch = {"input_ids": rows_of([[16]] * 4, 16)}

    def loss(params):
        terms, _ = objective.loss(params, {}, batch, draws_of(4), True)
        return terms["prediction_loss" if name == "all_tokens_mlm" else "cloze_loss"][0]

    traced = jax.make_jaxpr(jax.grad(loss))(params).jaxpr
    assert (largest(traced) >= 4 * 16 * 97) == (positions == 64)


def test_the_loss_of_all_tokens_does_not_depend_on_the_chunks(monkeypatch):
    objective = configured_objective("all_tokens_mlm")
    params = quick_jit(lambda: objective.init(jax.random.key(0))[0])()
    batch = {"input_ids": rows_of([[16], [7]], 16)}
    found = []
    for positions in (2, 32):
        monkeypatch.setattr(chunks.by_chunks, "__kwdefaults__", {"positions": positions})
        step = quick_jit(lambda p: objective.loss(p, {}, batch, draws_of(2), True)[0])
        found.append(jax.device_get(step(params)["prediction_loss"]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6) and found[0][1] == 16 + 7
