"""What the demo says of a run: the token-only classifier, and a row to show."""

import numpy as np
import pytest

from electra_jax.demo.analysis import (
    Corruptions,
    sentence_text,
    sentence_tokens,
    showcase,
    token_only_skill,
)
from electra_jax.objectives.metrics import binary_entropy


def _seen(replaced_rate_by_id, rng, rows=400, length=32):
    ids = rng.integers(0, len(replaced_rate_by_id), (rows, length))
    fake = rng.random(ids.shape) < np.asarray(replaced_rate_by_id)[ids]
    probability = np.where(fake, 0.7, 0.1)
    return Corruptions(ids, ids, fake, np.ones_like(fake), probability)


def test_the_token_only_classifier_finds_what_ids_tell_and_nothing_else():
    rng = np.random.default_rng(0)
    assert token_only_skill(_seen([0.15] * 10, rng), 10) == pytest.approx(0, abs=2e-3)
    rates = np.array([0.0, 0.3])
    mean = rates.mean()
    expected = 1 - np.mean([binary_entropy(r) for r in rates]) / binary_entropy(mean)
    assert token_only_skill(_seen(rates, rng), 2) == pytest.approx(expected, abs=0.01)
    assert token_only_skill(_seen([0.0, 1.0], rng), 2) == pytest.approx(1)


def test_a_sentence_shows_every_token_its_probability_and_what_was_replaced():
    original = np.array([[5, 6, 7, 8, 0]])
    corrupted = np.array([[5, 9, 7, 8, 0]])
    valid = np.array([[True, True, True, True, False]])
    seen = Corruptions(
        original, corrupted, (original != corrupted), valid, np.array([[0.02, 0.91, 0.1, 0.3, 0.5]])
    )
    names = {5: "the", 6: "cat", 7: "sat", 8: "down", 9: "<dog>"}
    text = sentence_text(seen, 0, lambda ids: [names[i] for i in ids])
    lines = [line.split() for line in text.splitlines()]
    assert lines == [["the", "<dog>", "sat", "down"], ["2", "91", "10", "30"], ["[cat]"]]
    assert sentence_tokens(seen, 0, lambda ids: [names[i] for i in ids]) == [
        {"text": "the", "probability": 0.02},
        {"text": "<dog>", "probability": 0.91, "replaced": True, "original": "cat"},
        {"text": "sat", "probability": 0.1},
        {"text": "down", "probability": 0.3},
    ]
    assert showcase(seen) == 0


def test_the_row_that_is_shown_is_the_median_of_those_with_four_to_eight_replacements():
    fake = np.zeros((5, 12), bool)
    for row, count in enumerate((5, 4, 3, 8, 9)):  # the third has too few, the last too many
        fake[row, :count] = True
    margins = np.array([0.1, 0.7, 0.2, 0.4, 0.5])
    probability = np.where(fake, 0.2 + margins[:, None], 0.2)
    ids = np.zeros_like(fake, int)
    seen = Corruptions(ids, ids, fake, np.ones_like(fake), probability)
    assert showcase(seen) == 3
