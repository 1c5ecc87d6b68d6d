"""Numbers that follow from the definition of the objective, before anything has been learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix import representative
from objectives.tiny import (
    SPECIAL,
    batch_sums,
    draws_of,
    init_params,
    losses,
    quick_jit,
    rows_of,
    tiny_objective,
)

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.objectives.corruption import Masking
from electra_jax.objectives.electra import ElectraObjective
from electra_jax.objectives.electra import ElectraSettings as CorruptionSettings

# Step 0


def test_fresh_networks_have_the_losses_of_chance():
    """ln V and ln 2, so 10.33 + 50 · 0.693 = 44.98 in all (narrow network, real vocabulary)."""
    shape = ElectraConfig(
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    masking = Masking(CorruptionSettings(), SPECIAL, 32)
    selected = 5  # of 32 tokens
    objective = ElectraObjective(PairConfig(shape, shape), masking.settings, masking)
    params = init_params(objective, jax.random.key(0))
    ids = rows_of([[32]] * 4, 32, vocab=30522)
    batch = {"input_ids": ids}

    def summary(params):
        terms, metrics = batch_sums(objective, params, batch, draws_of(4), False)
        return losses(objective, {**terms, **metrics})

    row = summary(params)
    assert row["generator_loss"] == pytest.approx(np.log(30522), abs=0.05)
    # The logits of a fresh head are all near one small number.
    assert row["discriminator_loss"] == pytest.approx(np.log(2), abs=0.05)
    # Nothing is guessed right: every selected token is replaced.
    assert row["replaced_rate"] == pytest.approx(selected / 32, abs=1e-6)
    last = params["discriminator_predictions"]["dense_1"]
    last["kernel"] = jnp.zeros_like(last["kernel"])
    row = summary(params)
    assert row["discriminator_loss"] == pytest.approx(np.log(2), rel=1e-5)
    assert row["loss"] == pytest.approx(44.98, abs=0.05)


# Counts


@pytest.fixture(scope="module", params=representative(("inverse_cdf", "gumbel"), "inverse_cdf"))
def stepped(request):
    """One training step's sums and gradients of both terms, rows with padding, dropout on."""
    objective = tiny_objective(seq_len=32, mask_prob=0.25, sampler=request.param)
    params = init_params(objective, jax.random.key(0))
    ids = rows_of([[32], [32], [20], [11]], 32)

    @quick_jit
    def gradients(params):
        def loss(params, name):
            terms, metrics = objective.loss(params, {}, {"input_ids": ids}, draws_of(4), True)
            return terms[name][0], {**terms, **metrics}

        of = jax.grad(loss, has_aux=True)
        generator, sums = of(params, "generator_loss")
        return generator, of(params, "discriminator_loss")[0], sums

    generator, discriminator, sums = jax.device_get(gradients(params))
    return objective, ids, generator, discriminator, sums


def test_the_replaced_rate_is_the_masked_share_the_generator_misses(stepped):
    objective, ids, _, _, sums = stepped
    row = losses(objective, sums)
    selected, tokens = sums["generator_loss"][1], sums["discriminator_loss"][1]
    assert tokens == 32 + 32 + 20 + 11
    assert selected == 8 + 8 + 5 + 3
    missed = 1 - row["sampled_accuracy"]
    assert row["replaced_rate"] == pytest.approx(selected / tokens * missed, rel=1e-6)
    weights = objective.weights({"input_ids": ids})
    assert float(weights["generator_loss"]) == selected
    assert float(weights["discriminator_loss"]) == tokens
    total = row["generator_loss"] + 50 * row["discriminator_loss"]
    assert row["loss"] == pytest.approx(total, rel=1e-6)
    assert sums["tokens"] == (tokens, 1)


# Gradients


def norms(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): float(np.abs(x).max())
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def test_the_discriminator_s_loss_reaches_the_generator_through_shared_embeddings_alone(stepped):
    gradient = norms(stepped[3])
    for name, size in gradient.items():
        if name.startswith(("generator/", "generator_predictions/")):
            assert size == 0, name
        elif not name.endswith("key/bias"):  # zero but for rounding
            assert size > 1e-6, name


def test_the_generator_s_loss_reaches_the_discriminator_through_shared_embeddings_alone(stepped):
    gradient = norms(stepped[2])
    for name, size in gradient.items():
        mine = ("electra/embeddings/", "generator/", "generator_predictions/")
        if not name.startswith(mine):
            assert size == 0, name
        elif not name.endswith("key/bias"):
            assert size > 1e-6, name


def test_without_sharing_neither_loss_reaches_the_other_network():
    objective = tiny_objective(seq_len=16, sharing="none")
    params = init_params(objective, jax.random.key(0))
    batch = {"input_ids": rows_of([[16], [9]], 16)}

    @quick_jit
    def gradients(params):
        def loss(params, name):
            return objective.loss(params, {}, batch, draws_of(2), True)[0][name][0]

        return [jax.grad(loss)(params, n) for n in ("generator_loss", "discriminator_loss")]

    generator, discriminator = map(norms, jax.device_get(gradients(params)))
    assert any(n.startswith("generator/embeddings/") for n in generator)
    for name in generator:
        theirs = name.startswith(("generator/", "generator_predictions/"))
        assert (discriminator if theirs else generator)[name] == 0, name
        if not name.endswith("key/bias"):
            assert (generator if theirs else discriminator)[name] > 1e-6, name
