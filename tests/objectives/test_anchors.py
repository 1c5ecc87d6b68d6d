"""Numbers that follow from the definition of the objective, before anything has been learned."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix import representative
from objectives.tiny import (
    SPECIAL,
    batch_sums,
    corrupt_rows,
    draws_of,
    init_params,
    losses,
    mask_rows,
    quick_jit,
    rows_of,
    sample_tokens,
    tiny_objective,
)

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.objectives.base import DENOMINATOR_EPSILON
from electra_jax.objectives.corruption import Masking
from electra_jax.objectives.electra import ElectraObjective
from electra_jax.objectives.electra import ElectraSettings as CorruptionSettings
from electra_jax.objectives.masked_lm import MaskedLMObjective
from electra_jax.objectives.terms import discriminator_sums, masked_lm_sums

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


@pytest.mark.parametrize(
    ("length", "selected", "entropy", "weighted"),
    [(128, 19, 0.4200, 21.00), (512, 77, 0.4234, 21.17), (512, 128, 0.5623, 28.12)],
)
def test_the_majority_plateau(length, selected, entropy, weighted):
    """The best constant logit has the loss H(m), 50 times that in the total, and no skill."""
    labels = (jnp.arange(length) < selected).astype(jnp.int32)[None, :]
    rate = selected / length
    logits = jnp.full((1, length), np.log(rate / (1 - rate)), jnp.float32)
    term, metrics = discriminator_sums(logits, labels, jnp.ones((1, length), bool))
    row = _summary(term, metrics)
    assert row["discriminator_loss"] == pytest.approx(entropy, abs=6e-5)
    assert 50 * row["discriminator_loss"] == pytest.approx(weighted, abs=6e-3)
    assert row["rtd_skill"] == pytest.approx(0, abs=1e-5)
    assert row["discriminator_auc"] == pytest.approx(0.5)
    assert row["discriminator_accuracy"] == pytest.approx(1 - rate)


@pytest.mark.parametrize(("accuracy", "plateau"), [(0.324, 0.3258), (0.35, 0.3173)])
def test_the_plateau_falls_with_the_generator_s_accuracy(accuracy, plateau):
    """H(m (1 − a)): a better generator lowers the loss that needs no discriminator."""
    rate = 19 / 128 * (1 - accuracy)
    tokens = 100_000
    labels = (jnp.arange(tokens) < round(rate * tokens)).astype(jnp.int32)[None, :]
    logits = jnp.full((1, tokens), np.log(rate / (1 - rate)), jnp.float32)
    row = _summary(*discriminator_sums(logits, labels, jnp.ones((1, tokens), bool)))
    assert row["discriminator_loss"] == pytest.approx(plateau, abs=1e-4)
    assert row["rtd_skill"] == pytest.approx(0, abs=1e-4)


def _summary(term, metrics):
    generator = ("generator_loss", "masked_lm_accuracy", "sampled_accuracy")
    zero = dict.fromkeys(generator, (0.0, 1.0))
    return losses(tiny_objective(), {**zero, "discriminator_loss": term, **metrics})


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


# Padding and specials in the sums


def test_padding_contributes_exactly_nothing_to_the_discriminator_s_sums():
    rng = np.random.default_rng(0)
    valid = jnp.asarray(rng.random((3, 16)) < 0.6)
    labels = jnp.asarray(rng.integers(0, 2, (3, 16))) * valid
    logits = jnp.asarray(rng.normal(size=(3, 16)), jnp.float32)
    wild = jnp.where(valid, logits, 1e4)
    for a, b in zip(
        jax.tree.leaves(discriminator_sums(logits, labels, valid)),
        jax.tree.leaves(discriminator_sums(wild, labels, valid)),
    ):
        np.testing.assert_array_equal(a, b)
    gradient = jax.grad(lambda x: discriminator_sums(x, labels, valid)[0][0])(logits)
    np.testing.assert_array_equal(np.asarray(gradient) != 0, valid)


def test_cls_and_sep_count_in_the_discriminator_s_mean():
    """Raising a special token's logit raises the loss; its label is always real."""
    objective = tiny_objective(seq_len=16)
    ids = rows_of([[16], [9]], 16)
    rows = mask_rows(objective, ids, draws_of(2))
    sampled = jnp.full(rows.selection.positions.shape, 96)
    _, labels = corrupt_rows(objective, rows, sampled)
    special = (ids == SPECIAL.cls) | (ids == SPECIAL.sep)
    assert int(special.sum()) == 4 and not bool((labels * special).any())
    valid = rows.structure.valid
    (quiet, weight), _ = discriminator_sums(jnp.zeros(ids.shape), labels, valid)
    (loud, _), _ = discriminator_sums(jnp.where(special, 3.0, 0.0), labels, valid)
    assert float(weight) == 16 + 9
    expected = 4 * (np.log1p(np.exp(3.0)) - np.log(2))
    assert float(loud - quiet) == pytest.approx(expected, rel=1e-5)


def test_unused_slots_contribute_exactly_nothing_to_the_masked_lm_sums():
    objective = tiny_objective(seq_len=32, mask_prob=0.4)
    rows = mask_rows(objective, rows_of([[32], [6]], 32), draws_of(2))
    used = rows.selection.weights > 0
    assert not bool(used.all())
    logits = jax.random.normal(jax.random.key(0), (*used.shape, 97))
    wild = jnp.where(used[..., None], logits, 100.0 * logits)
    for a, b in zip(
        jax.tree.leaves(masked_lm_sums(logits, rows)), jax.tree.leaves(masked_lm_sums(wild, rows))
    ):
        np.testing.assert_array_equal(a, b)


def test_a_sample_that_hits_the_original_is_labelled_real():
    objective = tiny_objective(seq_len=32, mask_prob=0.25)
    rows = mask_rows(objective, rows_of([[32], [20]], 32), draws_of(2))
    inputs, labels = corrupt_rows(objective, rows, rows.targets)
    assert not bool(labels.any())
    np.testing.assert_array_equal(inputs.input_ids, rows.structure.inputs.input_ids)
    half = jnp.where(jnp.arange(rows.targets.shape[1]) % 2 == 0, rows.targets, 96)
    _, labels = corrupt_rows(objective, rows, half)
    used = np.asarray(rows.selection.weights) > 0
    expected = (used & (np.asarray(half) != np.asarray(rows.targets))).sum()
    assert int(labels.sum()) == expected > 0


# The baseline


def test_the_masked_lm_baseline_is_the_generator_s_term_alone():
    pair = tiny_objective(seq_len=32, mask_prob=0.25)
    shape = pair.config.generator
    objective = MaskedLMObjective(shape, pair.masking)
    params = init_params(objective, jax.random.key(0))
    assert dict(objective.coefficients) == {"generator_loss": 1.0}
    batch = {"input_ids": rows_of([[32], [20]], 32)}
    terms, metrics = batch_sums(objective, params, batch, draws_of(2), False)
    row = losses(objective, {**terms, **metrics})
    assert set(terms) == {"generator_loss"}
    assert row["loss"] == pytest.approx(row["generator_loss"], rel=1e-5)
    assert float(objective.weights(batch)["generator_loss"]) == float(terms["generator_loss"][1])
    assert float(metrics["tokens"][0]) == 52

    # The same network as the generator of a pair with embeddings of its own.
    pair = tiny_objective(seq_len=32, mask_prob=0.25, sharing="none")
    pair = dataclasses.replace(pair, config=PairConfig(shape, shape, "none"))
    both = init_params(pair, jax.random.key(1))
    both = {
        **both,
        "generator": params["electra"],
        "generator_predictions": params["generator_predictions"],
    }
    paired, _ = batch_sums(pair, both, batch, draws_of(2), False)
    mean = [
        float(t["generator_loss"][0] / (t["generator_loss"][1] + DENOMINATOR_EPSILON))
        for t in (terms, paired)
    ]
    assert mean[0] == pytest.approx(mean[1], rel=1e-6)


def test_the_uniform_generator_loses_ln_v_and_samples_evenly():
    objective = tiny_objective(seq_len=32, mask_prob=0.4)
    objective = dataclasses.replace(
        objective, config=PairConfig(objective.config.discriminator, None)
    )
    params = init_params(objective, jax.random.key(0))
    assert set(params) == {"electra", "discriminator_predictions"}
    batch = {"input_ids": rows_of([[32]] * 4, 32)}
    terms, metrics = batch_sums(objective, params, batch, draws_of(4), True)
    row = losses(objective, {**terms, **metrics})
    assert row["generator_loss"] == pytest.approx(np.log(97), rel=1e-6)
    rows = mask_rows(objective, rows_of([[32]] * 500, 32), draws_of(500))
    zeros = jnp.zeros((*rows.selection.positions.shape, 97))
    sampled = np.asarray(sample_tokens(objective, zeros, rows, draws_of(500)))
    counts = np.bincount(sampled[np.asarray(rows.selection.weights) > 0], minlength=97)
    expected = counts.sum() / 97
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - 96) < 4 * np.sqrt(2 * 96)


def test_sampling_without_dropout_is_a_second_quiet_forward_pass():
    """The samples are the quiet generator's; the masked-LM loss stays the noisy one's."""
    batch = {"input_ids": rows_of([[32]] * 4, 32)}
    noisy = tiny_objective(seq_len=32, mask_prob=0.4)
    quiet = tiny_objective(seq_len=32, mask_prob=0.4, sample_with_dropout=False)
    params = init_params(noisy, jax.random.key(0))
    from_noisy, from_quiet = (
        batch_sums(o, params, batch, draws_of(4), True) for o in (noisy, quiet)
    )
    assert float(from_noisy[0]["generator_loss"][0]) == pytest.approx(
        float(from_quiet[0]["generator_loss"][0]), rel=1e-6
    )
    rows = mask_rows(noisy, batch["input_ids"], draws_of(4))
    logits = noisy.model.apply(
        {"params": params},
        rows.masked_inputs,
        rows.selection.positions,
        None,
        method="generator_logits",
    )
    sampled = sample_tokens(noisy, logits, rows, draws_of(4))
    hits = jnp.sum((sampled == rows.targets) * rows.selection.weights)
    assert float(from_quiet[1]["sampled_accuracy"][0]) == float(hits)
    given = batch_sums(noisy, params, {**batch, "sampled_ids": sampled}, draws_of(4), True)
    assert float(given[0]["discriminator_loss"][0]) == pytest.approx(
        float(from_quiet[0]["discriminator_loss"][0]), rel=1e-5
    )
    assert float(from_noisy[0]["discriminator_loss"][0]) != pytest.approx(
        float(from_quiet[0]["discriminator_loss"][0]), rel=1e-5
    )
