"""Loss terms and metrics of given logits: the plateau of no skill, padding, specials."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import (
    SPECIAL,
    corrupt_rows,
    draws_of,
    losses,
    mask_rows,
    rows_of,
    tiny_objective,
)

from electra_jax.objectives.terms import discriminator_sums, masked_lm_sums


def _summary(term, metrics):
    generator = ("generator_loss", "masked_lm_accuracy", "sampled_accuracy")
    zero = dict.fromkeys(generator, (0.0, 1.0))
    return losses(tiny_objective(), {**zero, "discriminator_loss": term, **metrics})


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
