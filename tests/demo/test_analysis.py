"""What the demo says of a run: the token-only classifier, and a row to show."""

import numpy as np
import pytest

from electra_jax.demo.analysis import (
    Corruptions,
    sentence_text,
    sentence_tokens,
    showcase,
    token_only_skill,
    words,
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


NAMES = ["[CLS]", "[SEP]", "the", "cat", "sat", "##s", "##ing", "<dog>", "dog"]


def names_of(ids):
    return [NAMES[i] for i in ids]


def row_of(original, corrupted, probability):
    original, corrupted = (
        np.array([[NAMES.index(x) for x in text.split()]]) for text in (original, corrupted)
    )
    valid = np.ones_like(original, bool)
    return Corruptions(original, corrupted, original != corrupted, valid, np.array([probability]))


def test_a_sentence_shows_every_word_its_probability_and_what_was_replaced():
    seen = row_of(
        "[CLS] the cat sat ##s [SEP]",
        "[CLS] the <dog> sat ##ing [SEP]",
        [0, 0.02, 0.91, 0.1, 0.3, 0],
    )
    row = words(seen, 0, names_of)
    lines = [line.split() for line in sentence_text(row).splitlines()]
    assert lines == [["the", "<dog>", "sating"], ["2", "91", "30"], ["[cat]", "[sats]"]]
    assert sentence_tokens(row) == [
        {"text": "the", "probability": 0.02},
        {"text": "<dog>", "probability": 0.91, "replaced": True, "original": "cat"},
        {"text": "sating", "probability": 0.3, "replaced": True, "original": "sats"},
    ]


@pytest.mark.parametrize(
    ("original", "corrupted", "expected"),
    [
        ("cat ##s sat", "cat ##s sat", [("cats", ""), ("sat", "")]),
        ("cat ##s sat", "cat dog sat", [("cat dog", "cats"), ("sat", "")]),
        ("cat sat", "cat ##s", [("cats", "cat sat")]),
        ("##s cat", "##ing cat", [("ing", "s"), ("cat", "")]),
        ("cat [SEP] [CLS] ##s", "cat [SEP] [CLS] ##s", [("cat", ""), ("s", "")]),
    ],
)
def test_a_word_stands_with_its_original_however_their_pieces_differ(original, corrupted, expected):
    row = words(row_of(original, corrupted, [0.5] * len(original.split())), 0, names_of)
    assert [(word.text, word.original) for word in row] == expected


def test_a_long_row_is_broken_into_blocks_of_the_width():
    row = words(row_of(" ".join(["the"] * 30), " ".join(["the"] * 30), [0.5] * 30), 0, names_of)
    blocks = sentence_text(row, width=20).split("\n\n")
    assert len(blocks) == 6 and all(len(b.splitlines()[0]) <= 20 for b in blocks)


def test_the_row_that_is_shown_is_a_readable_one_of_median_margin():
    fake = np.zeros((6, 12), bool)
    for row, count in enumerate((5, 4, 3, 8, 9, 6)):  # the third has too few, the fifth too many
        fake[row, :count] = True
    margins = np.array([0.1, 0.7, 0.2, 0.4, 0.5, 0.3])
    probability = np.where(fake, 0.2 + margins[:, None], 0.2)
    ids = np.full_like(fake, 3, int)
    ids[3] = NAMES.index("<dog>")  # has a margin in the middle, but no words
    seen = Corruptions(ids, ids, fake, np.ones_like(fake), probability)
    seen = Corruptions(*(np.repeat(x, 10, axis=0) for x in vars(seen).values()))
    assert showcase(seen, names_of) // 10 in (0, 1, 5)
    ids[3] = 3
    seen = Corruptions(
        ids[[3, 4]], ids[[3, 4]], fake[[3, 4]], fake[[3, 4]] >= 0, probability[[3, 4]]
    )
    assert showcase(seen, names_of) == 0
    nothing = Corruptions(ids, ids, fake & False, fake >= 0, probability)
    assert showcase(nothing, names_of) == 0
