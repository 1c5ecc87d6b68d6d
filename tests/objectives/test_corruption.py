"""Masking and replacing tokens of rows: settings, array sizes, selections, labels."""

import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import (
    SPECIAL,
    corrupt_rows,
    draws_of,
    mask_rows,
    rows_of,
    tiny_objective,
)

from electra_jax.errors import UserError
from electra_jax.objectives.corruption import CorruptionSettings, Masking
from electra_jax.objectives.masking import (
    max_predictions_per_seq,
    num_to_mask,
)


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


LENGTHS = [[32], [17], [3], [5, 9, 12], [8, 8, 8, 8], [3] * 10, [20, 3], []]


@pytest.mark.parametrize("share", [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4])
def test_slots_never_cut_a_row_of_one_piece_unless_the_reference_does(share):
    """The reference's number is one short at some lengths: 9 of the 10 that 64 tokens want."""
    lengths = np.arange(3, 513)
    needed = np.asarray(num_to_mask(jnp.asarray(lengths), share))
    slots = {
        kind: [
            Masking(
                CorruptionSettings(mask_prob=share, masking=kind), SPECIAL, int(n)
            ).max_predictions
            for n in lengths
        ]
        for kind in ("without_replacement", "reference")
    }
    assert (needed <= slots["without_replacement"]).all()
    assert slots["reference"] == [max_predictions_per_seq(int(n), share) for n in lengths]
    if share == 0.15:
        assert slots["without_replacement"][128 - 3] == 19
        assert slots["without_replacement"][64 - 3] == 10 > slots["reference"][64 - 3]


@pytest.mark.parametrize("lengths", [[[32], [17], [3], [9], []], LENGTHS], ids=["single", "packed"])
@pytest.mark.parametrize("masking", ["without_replacement", "reference"])
def test_selections_counts_the_slots_that_masking_uses(masking, lengths):
    if masking == "reference" and lengths is LENGTHS:
        pytest.skip("it refuses packed rows")
    ids = np.array(rows_of(lengths, 32))
    ids[1, 1:9] = SPECIAL.mask  # few candidates
    ids[0, 1:31] = SPECIAL.sep  # none
    segments = max(len(x) for x in lengths)
    for share in (0.15, 0.4):
        objective = tiny_objective(
            seq_len=32, max_segments=segments, masking=masking, mask_prob=share
        )
        batch = {"input_ids": jnp.asarray(ids)}
        rows = mask_rows(objective, batch["input_ids"], draws_of(len(ids)))
        assert float(objective.masking.selections(batch)) == float(rows.selection.weights.sum())


def test_reference_masking_refuses_packed_rows():
    with pytest.raises(UserError, match="packing=reference"):
        tiny_objective(max_segments=2, masking="reference")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_prob": 0.0}, "mask_prob=0.0: must be between 0 and 1"),
        ({"mask_prob": 1.0}, "mask_prob=1.0"),
        ({"masking": "whole_word"}, "masking='whole_word': choose one of without_replacement"),
        ({"sampler": "top_k"}, "sampler='top_k': choose one of inverse_cdf, gumbel"),
        ({"temperature": 0.0}, "temperature=0.0: must be positive"),
        ({"initial_temperature": -1.0}, "initial_temperature=-1.0: must be positive"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        CorruptionSettings(**settings)
