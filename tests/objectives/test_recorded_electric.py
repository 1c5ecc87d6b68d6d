"""The recorded Electric case: towers, logits, log q, losses, gradients, with `nce="reference"`.

The recording's README allows 1e-4, and 1e-3 at the last token of a padded row, whose noise model
reads a padding token's state.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from objectives.recorded import load_case
from objectives.tiny import quick_jit

from electra_jax.interop.mapping.tf1_networks import tf1_from_tree, tree_from_tf1
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.base import DENOMINATOR_EPSILON
from electra_jax.objectives.losses import masked_lm_loss, replaced_token_loss
from electra_jax.objectives.metrics import auc, auc_counts
from electra_jax.objectives.rng import Draws

CLOSE = {"rtol": 2e-5, "atol": 2e-5}  # float32 does better than the README on these shapes
PADDED_END = {"rtol": 1e-3, "atol": 1e-3}
BATCHES = range(3)


@pytest.fixture(scope="module")
def case(oracles):
    return load_case(oracles, "electric")


def _draws(rows):
    count = rows.masked_ids.shape[0]
    return Draws(jax.random.key(0), jnp.int32(0), jnp.arange(count, dtype=jnp.int32))


@pytest.fixture(scope="module")
def values(case):
    """Everything that is compared without a gradient, by name, for each batch."""
    objective = case.objective

    @quick_jit
    def compute(params, rows, sampled):
        draws = _draws(rows)
        terms, metrics = objective.loss_of(params, rows, draws, False, sampled)
        states = objective.noise_states(params, rows, None)
        inputs, _ = objective.corrupt(rows, sampled)
        _, log_q = objective.vocabulary_terms(
            params, states, states, rows, inputs.input_ids, draws, False
        )
        _, odds = objective.noise_odds(rows.structure, None)
        cloze = objective.cloze_logits(params, states)
        chosen = jnp.take_along_axis(cloze, rows.selection.positions[..., None], axis=1)
        return {
            "terms": terms,
            "metrics": metrics,
            "towers": states,
            "cloze_logits": cloze,
            "gen_logits": chosen,
            "gen_per_slot_loss": masked_lm_loss(chosen, rows.targets),
            "corrupted_input_ids": inputs.input_ids,
            "is_fake_labels": objective.noise_labels(rows),
            "log_q": log_q,
            "disc_logits": objective.discriminator_logits(params, inputs, None) + log_q + odds,
            "cloze_weights": objective.candidates(rows.structure),
        }

    return [
        jax.device_get(
            compute(case.params, case.rows(b), jnp.asarray(case.recorded(b, "sampled_ids")))
        )
        for b in BATCHES
    ]


def _not_a_padded_end(valid):
    """bool [B, L]: real tokens but the last of a padded row."""
    last = valid.sum(1, keepdims=True) - 1
    place = np.arange(valid.shape[1])[None]
    return (valid > 0) & ((place != last) | (last == valid.shape[1] - 1))


def test_the_towers_see_one_side_of_a_token_each(case, values):
    valid = case.recorded(0, "input_mask")
    inner, width = _not_a_padded_end(valid), case.objective.config.generator.hidden_size
    towers = values[0]["towers"]
    before, after = (case.recorded(0, f"gen_{x}_sequence_output") for x in ("ltr", "rtl"))
    np.testing.assert_allclose(towers[..., :width][inner], np.roll(before, 1, 1)[inner], **CLOSE)
    after = np.roll(after, -1, 1)
    np.testing.assert_allclose(towers[..., width:][inner], after[inner], **CLOSE)
    np.testing.assert_allclose(towers[..., width:][valid > 0], after[valid > 0], **PADDED_END)


def test_the_noise_model_predicts_every_token(case, values):
    recorded = case.recorded(0, "cloze_logits")
    inner = _not_a_padded_end(case.recorded(0, "input_mask"))[: len(recorded)]
    ours = values[0]["cloze_logits"][: len(recorded)]
    np.testing.assert_allclose(ours[inner], recorded[inner], **CLOSE)
    used = case.recorded(0, "masked_lm_weights") > 0
    expected = case.recorded(0, "gen_logits")
    np.testing.assert_allclose(values[0]["gen_logits"][used], expected[used], **CLOSE)
    np.testing.assert_array_equal(values[0]["cloze_weights"], case.recorded(0, "cloze_weights"))


@pytest.mark.parametrize("batch", BATCHES)
def test_corruption_labels_and_logits(case, values, batch):
    found = values[batch]
    for name in ("corrupted_input_ids", "is_fake_labels"):
        np.testing.assert_array_equal(found[name], case.recorded(batch, name))
    hits = case.recorded(batch, "corrupted_input_ids") == case.recorded(batch, "input_ids")
    assert (hits & (found["is_fake_labels"] == 1)).any()  # a hit counts as noise
    used = case.recorded(batch, "masked_lm_weights") > 0
    expected = case.recorded(batch, "gen_per_slot_loss")
    np.testing.assert_allclose(found["gen_per_slot_loss"][used], expected[used], **CLOSE)
    valid = case.recorded(batch, "input_mask")
    inner = _not_a_padded_end(valid)
    for name in ("log_q", "disc_logits") if batch == 0 else ("disc_logits",):
        expected = case.recorded(batch, name)
        np.testing.assert_allclose(found[name][inner], expected[inner], **CLOSE)
        np.testing.assert_allclose(found[name][valid > 0], expected[valid > 0], **PADDED_END)


@pytest.mark.parametrize("batch", BATCHES)
def test_losses(case, values, batch):
    expected, terms = case.losses["batches"][batch], values[batch]["terms"]
    total = 0.0
    for name, recorded in (("cloze_loss", "cloze_loss"), ("discriminator_loss", "disc_loss")):
        loss = terms[name][0] / (terms[name][1] + DENOMINATOR_EPSILON)
        total += case.objective.coefficients[name] * loss
        np.testing.assert_allclose(loss, expected[recorded], rtol=1e-4)
    np.testing.assert_allclose(total, expected["total_loss"], rtol=1e-4)


@pytest.mark.parametrize("batch", BATCHES)
def test_metrics(case, values, batch):
    recorded = case.losses["batches"][batch]["metrics_this_batch_only"]
    row = case.objective.summarize({**values[batch]["terms"], **values[batch]["metrics"]})
    names = {
        "masked_lm_accuracy": "masked_lm_accuracy",
        "sampled_accuracy": "sampled_masked_lm_accuracy",
        "discriminator_accuracy": "disc_accuracy",
        "discriminator_precision": "disc_precision",
        "discriminator_recall": "disc_recall",
    }
    for ours, theirs in names.items():
        np.testing.assert_allclose(row[ours], recorded[theirs], rtol=2e-5, err_msg=ours)
    # The recorded AUC counts padding as negatives of probability 0, its loss is a mean of means.
    valid = case.recorded(batch, "input_mask")
    logits, labels = (values[batch][k] for k in ("disc_logits", "is_fake_labels"))
    probabilities = jax.nn.sigmoid(logits) * valid
    counts = auc_counts(probabilities, jnp.asarray(labels), jnp.ones_like(probabilities))
    np.testing.assert_allclose(auc(*map(np.asarray, counts)), recorded["disc_auc"], rtol=1e-4)
    losses = np.asarray(replaced_token_loss(jnp.asarray(logits), jnp.asarray(labels))) * valid
    mean = (losses.sum(1) / valid.sum(1)).mean()
    np.testing.assert_allclose(mean, recorded["disc_loss"], rtol=1e-4)


def test_gradients(case):
    objective, rows = case.objective, case.rows(0)
    sampled = jnp.asarray(case.recorded(0, "sampled_ids"))

    def total(params):
        terms, _ = objective.loss_of(params, rows, _draws(rows), False, sampled)
        return sum(
            c * terms[name][0] / (terms[name][1] + DENOMINATOR_EPSILON)
            for name, c in objective.coefficients.items()
        )

    value, grads = jax.device_get(quick_jit(jax.value_and_grad(total))(case.params))
    recorded = case.losses["batches"][0]
    np.testing.assert_allclose(value, recorded["total_loss"], rtol=1e-4)
    ours = tf1_from_tree(objective.config, grads)
    expected = np.load(case.folder / "grads_b0.npz")
    assert len(expected.files) == 28
    for name in expected.files:
        if name.endswith("key/bias"):  # zero in exact arithmetic
            assert np.abs(ours[name]).max() < 1e-3
            continue
        error = np.linalg.norm(ours[name] - expected[name]) / np.linalg.norm(expected[name])
        assert error < 1e-3, (name, error)
    norm = float(optax.tree.norm(grads))
    np.testing.assert_allclose(norm, recorded["grad_global_norm_dense"], rtol=1e-4)


def test_the_tree_has_every_trainable_variable_of_the_recording(case):
    ours = tf1_from_tree(case.objective.config, case.params)
    assert {n: list(a.shape) for n, a in ours.items()} == case.config["trainable_variables"]
    again = tree_from_tf1(
        ours, where="written", num_attention_heads=4, generator_num_attention_heads=2
    )
    for name, value in flatten(again.params).items():
        np.testing.assert_array_equal(value, flatten(case.params)[name])
