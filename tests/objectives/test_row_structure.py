"""What the ids of a row say: pieces, positions, sentences, who sees whom."""

import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import SPECIAL, corrupt_rows, draws_of, mask_rows, tiny_objective

from electra_jax.objectives.row_structure import row_structure

PAD, CLS, SEP = SPECIAL.pad, SPECIAL.cls, SPECIAL.sep
# One sentence; two sentences; then padding.
PACKED = [CLS, 9, 8, SEP, CLS, 7, SEP, 6, 5, SEP, PAD, PAD]
SINGLE = [CLS, 9, 8, SEP, 7, 6, SEP, PAD, PAD, PAD, PAD, PAD]


def test_one_piece_a_row():
    structure = row_structure(jnp.asarray([SINGLE]), SPECIAL, packed=False)
    assert structure.segment_ids.tolist() == [[1] * 7 + [0] * 5]
    assert structure.inputs.token_type_ids.tolist() == [[0] * 4 + [1] * 3 + [0] * 5]
    assert structure.inputs.positions is None
    assert structure.inputs.mask.shape == (1, 1, 1, 12)
    assert structure.inputs.mask[0, 0, 0].tolist() == [True] * 7 + [False] * 5
    assert structure.inputs.lengths.tolist() == [7]


def test_packed_pieces():
    structure = row_structure(jnp.asarray([PACKED]), SPECIAL, packed=True)
    assert structure.segment_ids.tolist() == [[1] * 4 + [2] * 6 + [0, 0]]
    assert structure.inputs.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 0, 0]]
    assert structure.inputs.token_type_ids.tolist() == [[0] * 7 + [1] * 3 + [0, 0]]
    assert structure.valid.tolist() == [[True] * 10 + [False] * 2]


def test_a_packed_token_sees_its_own_piece_and_nothing_else():
    structure = row_structure(jnp.asarray([PACKED]), SPECIAL, packed=True)
    mask = np.asarray(jnp.broadcast_to(structure.inputs.mask, (1, 1, 12, 12)))[0, 0]
    expected = np.zeros((12, 12), bool)
    expected[:4, :4] = expected[4:10, 4:10] = True
    np.testing.assert_array_equal(mask[:10], expected[:10])


def test_a_row_of_one_piece_is_the_same_packed_or_not():
    packed, single = (row_structure(jnp.asarray([SINGLE]), SPECIAL, p) for p in (True, False))
    assert packed.segment_ids.tolist() == single.segment_ids.tolist()
    assert packed.inputs.token_type_ids.tolist() == single.inputs.token_type_ids.tolist()
    assert packed.inputs.positions.tolist() == [[*range(7), *[0] * 5]]


def test_more_than_two_sentences_share_the_second_type():
    row = [CLS, 9, SEP, 8, SEP, 7, SEP, PAD]
    for packed in (True, False):
        structure = row_structure(jnp.asarray([row]), SPECIAL, packed)
        assert structure.inputs.token_type_ids.tolist() == [[0, 0, 0, 1, 1, 1, 1, 0]]


def test_a_row_without_padding_and_a_row_of_nothing_else():
    rows = jnp.asarray([[CLS, 5, CLS, 6], [PAD] * 4])
    structure = row_structure(rows, SPECIAL, packed=True)
    assert structure.segment_ids.tolist() == [[1, 1, 2, 2], [0] * 4]
    assert structure.inputs.positions.tolist() == [[0, 1, 0, 1], [0] * 4]
    assert structure.inputs.lengths is None
    # Nothing to see would be 0 / 0 in a softmax.
    single = row_structure(rows, SPECIAL, packed=False)
    assert single.inputs.lengths.tolist() == [4, 1]


@pytest.mark.parametrize("packed", [True, False])
def test_a_pad_id_other_than_zero(packed):
    special = type(SPECIAL)(pad=9, unk=1, cls=2, sep=3, mask=4)
    structure = row_structure(jnp.asarray([[2, 0, 3, 9]]), special, packed)
    assert structure.valid.tolist() == [[True, True, True, False]]


def test_a_batch_s_own_mask_and_types_override_the_ids():
    masking = tiny_objective(seq_len=4).masking
    batch = {
        "input_ids": jnp.asarray([[CLS, 5, 6, SEP]]),
        "attention_mask": jnp.asarray([[1, 1, 0, 0]]),
        "token_type_ids": jnp.asarray([[0, 1, 1, 1]]),
    }
    structure = masking.structure(batch)
    assert structure.valid.tolist() == [[True, True, False, False]]
    assert structure.inputs.mask.tolist() == [[[[True, True, False, False]]]]
    assert structure.inputs.token_type_ids.tolist() == [[0, 1, 1, 1]]


def test_a_sampled_cls_changes_no_structure():
    """The discriminator reads the original rows' pieces, whatever the generator sampled."""
    objective = tiny_objective(seq_len=12, max_segments=2)
    batch = {"input_ids": jnp.asarray([PACKED])}
    rows = mask_rows(objective, batch["input_ids"], draws_of(1))
    sampled = jnp.full(rows.selection.positions.shape, CLS)
    inputs, _ = corrupt_rows(objective, rows, sampled)
    assert int(jnp.sum(inputs.input_ids == CLS)) > 2
    np.testing.assert_array_equal(inputs.positions, rows.structure.inputs.positions)
    np.testing.assert_array_equal(inputs.mask, rows.structure.inputs.mask)
    np.testing.assert_array_equal(inputs.token_type_ids, rows.structure.inputs.token_type_ids)
