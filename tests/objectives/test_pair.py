"""The pair of a configuration; generators that are uniform or sample without dropout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import (
    batch_sums,
    draws_of,
    init_params,
    losses,
    mask_rows,
    rows_of,
    sample_tokens,
    tiny_objective,
)

from electra_jax.config.model import PairConfig
from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.objectives.pair import pair_from_config


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


# From a configuration


def configured(*overrides):
    config, _ = load_config(["--config=configs/pretrain.py:small", *overrides])
    return pair_from_config(config, vocab_size=97, pad_token_id=0)


def test_the_generator_is_the_discriminator_s_shape_with_its_own_sizes():
    pair = configured("--config.model.generator.hidden_size=32", "--config.train.dtype=bfloat16")
    assert pair.generator.hidden_size == 32 != pair.discriminator.hidden_size
    assert (
        pair.generator.replace(
            **{
                key: getattr(pair.discriminator, key)
                for key in ("hidden_size", "intermediate_size", "num_attention_heads")
            },
            num_hidden_layers=pair.discriminator.num_hidden_layers,
        )
        == pair.discriminator
    )
    assert (pair.discriminator.vocab_size, pair.discriminator.dtype) == (97, "bfloat16")


def test_sharing_decides_the_generator_s_embeddings_and_shape():
    assert configured("--config.model.sharing=all").generator == configured().discriminator
    apart = configured("--config.model.sharing=none", "--config.model.generator.hidden_size=32")
    assert apart.generator.embedding_size == 32
    assert configured("--config.model.generator.kind=uniform").generator is None


def test_a_vocabulary_other_than_the_rows_is_refused():
    with pytest.raises(UserError, match=r"model\.vocab_size=98 and the rows' tokenizer has 97"):
        configured("--config.model.vocab_size=98")
