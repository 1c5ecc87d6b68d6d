"""Parts of recipes that act on the losses, the heads and the generator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import (
    batch_sums,
    draws_of,
    init_params,
    mask_rows,
    quick_jit,
    rows_of,
    tiny_objective,
)
from tiny_run import OVERRIDES, make_rows, metric_rows, models, pretrain

from electra_jax.config_file import load_config
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.losses import masked_lm_loss
from electra_jax.objectives.masked_lm import MaskedLMObjective
from electra_jax.objectives.pair import pair_from_config

IDS = rows_of([[32], [20]], 32)


def test_z_loss_adds_its_gradient_and_leaves_the_value():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(0, 3, (2, 3, 7)), jnp.float32)
    targets = jnp.asarray(rng.integers(0, 7, (2, 3)))

    def gradient(c):
        return jax.grad(lambda x: jnp.sum(masked_lm_loss(x, targets, c)))(logits)

    c, normalizer = 0.01, jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    expected = 2 * c * normalizer * jax.nn.softmax(logits)
    np.testing.assert_allclose(gradient(c) - gradient(0.0), expected, atol=1e-6)
    plain = masked_lm_loss(logits, targets)
    np.testing.assert_array_equal(masked_lm_loss(logits, targets, 0.0), plain)
    np.testing.assert_allclose(masked_lm_loss(logits, targets, c), plain, rtol=1e-6)


def masked_lm(**settings):
    objective = tiny_objective(**settings)
    return MaskedLMObjective(objective.config.discriminator, objective.masking)


@pytest.mark.parametrize("objective", [tiny_objective, masked_lm])
def test_z_loss_reaches_the_objective_s_loss(objective):
    """Cross-entropy alone moves the output biases by nothing on average."""
    plain, penalised = objective(), objective(z_loss=0.1)
    params = init_params(plain, jax.random.key(0))
    head = params["generator_predictions"]

    def gradient(objective):
        def total(bias):
            tree = {**params, "generator_predictions": {**head, "output_bias": bias}}
            terms, _ = objective.loss(tree, {}, {"input_ids": IDS}, draws_of(2), True)
            return terms["generator_loss"][0]

        return float(jnp.sum(quick_jit(jax.grad(total))(head["output_bias"])))

    assert abs(gradient(plain)) < 1e-4 and gradient(penalised) > 0.1


def test_a_head_that_begins_at_zero_knows_nothing():
    plain, zero = tiny_objective(), tiny_objective(zero_head=True)
    key = jax.random.key(0)
    params, others = init_params(zero, key), flatten(init_params(plain, key))
    terms, _ = batch_sums(zero, params, {"input_ids": IDS}, draws_of(2), False)
    total, tokens = terms["discriminator_loss"]
    np.testing.assert_allclose(total / tokens, np.log(2), rtol=1e-6)
    changed = {n for n, x in flatten(params).items() if not np.array_equal(x, others[n])}
    assert changed == {"discriminator_predictions/dense_1/kernel"}


def test_a_generator_without_dropout_trains_as_it_is_evaluated():
    model = {"hidden_dropout_prob": 0.3}
    quiet, noisy = (tiny_objective(model=model, generator_dropout=x) for x in (False, True))
    params, draws = init_params(quiet, jax.random.key(0)), draws_of(2)
    rows = mask_rows(quiet, IDS, draws)

    def terms(objective, train):
        found = quick_jit(lambda p: objective.loss_of(p, rows, draws, train, rows.targets)[0])(
            params
        )
        return [float(found[name][0]) for name in ("generator_loss", "discriminator_loss")]

    (still, loud), (evaluated, even), (dropped, _) = (
        terms(quiet, True),
        terms(quiet, False),
        terms(noisy, True),
    )
    np.testing.assert_allclose(still, evaluated, rtol=1e-6)
    assert abs(dropped - still) > 1e-3 * still and abs(loud - even) > 1e-3 * even


def test_a_generator_of_full_width_and_half_depth_is_a_matter_of_its_fields():
    fields = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4}
    fields["intermediate_size"] = 1024
    given = [f"--config.model.generator.{n}={x}" for n, x in fields.items()]
    config, _ = load_config(["--config=configs/pretrain.py:small", *given])
    pair = pair_from_config(config, 30522, 0)
    assert pair.generator == pair.discriminator.replace(num_hidden_layers=6)


PARTS = (
    "optimizer.name=stable_adamw",
    "optimizer.schedule=wsd",
    "optimizer.decay_floor=0.1",
    "objective.mask_prob=linear(0.3, 0.15)",
    "objective.whole_words=True",
    "objective.ngrams=0.5,0.5",
    "objective.hidden_prob=0.35",
    "objective.masked_share=1.0",
    "objective.replaced_share=step(1, 0, share=0.5)",
    "objective.z_loss=1e-4",
    "objective.zero_head=True",
    "objective.generator_dropout=False",
)


@pytest.mark.slow
def test_a_stopped_run_of_all_parts_goes_on_to_the_same_bits(tmp_path):
    rows = make_rows(tmp_path)
    settings = (*PARTS, "train.steps=6", "train.eval_every=0", "train.log_every=1")
    given = [*OVERRIDES, f"--config.data.path={rows}", *(f"--config.{x}" for x in settings)]
    whole = pretrain(given, tmp_path / "whole")
    training = [row for row in metric_rows(whole) if "replaced_rate" in row]
    assert [row["replaced_rate"] > 0 for row in training] == [True] * 3 + [False] * 3
    stopped = pretrain(given, tmp_path / "stopped", killed_after=5)
    assert models(pretrain(given, stopped)) == models(whole)
