"""The entropy of token frequencies, of rows with known counts."""

import jax
import numpy as np
import pytest
from objectives.tiny import (
    SPECIAL,
    VOCAB,
    batch_sums,
    configured_objective,
    draws_of,
    init_params,
    losses,
    rows_of,
)
from rows_folder import write_rows

from electra_jax.data.rows import Rows
from electra_jax.objectives.unigram import log_frequencies, unigram_block, unigram_entropy


@pytest.fixture
def held_out(tmp_path):
    # [CLS] 5 5 6 7 [SEP] [MASK] [PAD]: of the words, 5 twice, 6 and 7 once.
    row = np.array([[2, 5, 5, 6, 7, 3, 4, 0]])
    rows = np.repeat(row, 5000, axis=0)  # more than are read at once
    return Rows.open(write_rows(tmp_path / "rows", rows, rows, rows_in_shard=3000), "eval")


def test_the_entropy_is_that_of_the_words_alone(held_out):
    expected = -(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25))
    assert unigram_entropy(held_out) == pytest.approx(expected, rel=1e-12)


def test_the_report_draws_it_into_the_chart_of_the_loss(held_out):
    block = unigram_block(held_out, "cloze_loss")
    assert block["reference"] == {"cloze_loss": unigram_entropy(held_out)}


def test_every_token_is_counted_once_more_but_for_those_that_are_never_predicted(held_out):
    counts = held_out.token_counts()
    assert counts.tolist()[:8] == [5000, 0, 5000, 5000, 5000, 10_000, 5000, 5000]
    assert held_out.token_counts(10).tolist() == (counts // 500).tolist()
    share = np.exp(log_frequencies(counts, SPECIAL))
    assert share[[0, 2, 3, 4]].tolist() == [0.0] * 4
    assert share.sum() == pytest.approx(1) and share[5] / share[6] == pytest.approx(10_001 / 5001)


def test_a_unigram_generator_has_the_frequencies_loss_and_samples():
    """The counts are 0, 1, 2, …: the later half of the vocabulary is three quarters of the text."""
    objective = configured_objective(
        "electra", "model.generator.kind=unigram", "objective.mask_prob=0.4"
    )
    assert objective.config.generator is None
    params = init_params(objective, jax.random.key(0))
    assert {*params} == {"electra", "discriminator_predictions"}
    ids = rows_of([[16]] * 64, 16)
    terms, metrics = batch_sums(objective, params, {"input_ids": ids}, draws_of(64), True)
    frequencies = np.array(objective.unigram)
    row = losses(objective, {**terms, **metrics})
    words = -frequencies[5:]  # rows_of draws them evenly
    assert row["generator_loss"] == pytest.approx(words.mean(), abs=0.1)
    rows = objective.masking.mask({"input_ids": ids}, draws_of(64), True)
    logits = objective.generator_logits(params, rows, None)
    sampled = np.asarray(objective.sample(logits, rows, draws_of(64)))
    sampled = sampled[np.asarray(rows.selection.weights) > 0]
    expected = np.exp(frequencies[VOCAB // 2 :]).sum()
    spread = 4 * np.sqrt(expected * (1 - expected) / sampled.size)
    assert abs((sampled >= VOCAB // 2).mean() - expected) < spread and sampled.min() > 4
