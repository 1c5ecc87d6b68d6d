"""The entropy of token frequencies, of rows with known counts."""

import numpy as np
import pytest
from rows_folder import write_rows

from electra_jax.data.rows import Rows
from electra_jax.objectives.unigram import unigram_block, unigram_entropy


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
