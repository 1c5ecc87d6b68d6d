"""Padding is invisible, packed documents do not see each other: dropout on, both block styles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix import representative
from objectives.tiny import (
    SPECIAL,
    draws_of,
    forward,
    init_params,
    losses,
    mask_rows,
    quick_jit,
    rows_of,
    tiny_objective,
)

STYLES = [(block, packed) for block in ("bert", "modern") for packed in (False, True)]
PACKINGS = {False: [[20], [13], [3]], True: [[9, 11], [5, 3, 7], [20]]}


@pytest.mark.parametrize(
    ("block", "packed"), representative(STYLES, ("bert", False), ("modern", True))
)
def test_more_padding_changes_no_draw_and_no_logit_or_loss(block, packed):
    lengths = PACKINGS[packed]
    segments = 3 if packed else 1
    narrow, wide = 20, 29
    results = {}
    for seq_len in (narrow, wide):
        objective = tiny_objective(block, seq_len=seq_len, max_segments=segments, mask_prob=0.25)
        if not results:
            params = init_params(objective, jax.random.key(0))
        ids = rows_of(lengths, seq_len)
        values = jax.device_get(forward(objective, params, ids, draws_of(3)))
        results[seq_len] = values, losses(objective, values["sums"])
    (a, loss_a), (b, loss_b) = results[narrow], results[wide]
    selection_a, selection_b = (x["rows"].selection for x in (a, b))
    used_a, used_b = selection_a.weights > 0, selection_b.weights > 0
    slots = used_a.shape[1]
    assert not used_b[:, slots:].any()
    np.testing.assert_array_equal(used_a, used_b[:, :slots])
    np.testing.assert_array_equal(selection_a.positions, selection_b.positions[:, :slots])
    np.testing.assert_array_equal(a["rows"].masked_ids, b["rows"].masked_ids[:, :narrow])
    np.testing.assert_array_equal(a["sampled"][used_a], b["sampled"][:, :slots][used_a])
    np.testing.assert_array_equal(a["corrupted"], b["corrupted"][:, :narrow])
    np.testing.assert_array_equal(a["labels"], b["labels"][:, :narrow])
    assert not b["labels"][:, narrow:].any()
    valid = a["rows"].structure.segment_ids > 0
    np.testing.assert_allclose(
        a["generator_logits"][used_a], b["generator_logits"][:, :slots][used_a], atol=1e-5
    )
    np.testing.assert_allclose(
        a["discriminator_logits"][valid], b["discriminator_logits"][:, :narrow][valid], atol=1e-5
    )
    for name, value in loss_a.items():
        assert value == pytest.approx(loss_b[name], abs=1e-5, rel=1e-5), name


@pytest.fixture(scope="module", params=["bert", "modern"])
def packed_network(request):
    """(objective, logits of both networks for rows int32 [1, 32])."""
    objective = tiny_objective(request.param, seq_len=32, max_segments=3, mask_prob=0.25)
    params = init_params(objective, jax.random.key(0))
    noise = draws_of(1).noise("discriminator_dropout")

    @quick_jit
    def networks(ids):
        inputs = objective.masking.structure({"input_ids": ids}).inputs
        apply = objective.model.apply
        every = jnp.arange(ids.shape[1])[None, :]
        return (
            apply({"params": params}, inputs, every, noise, method="generator_logits"),
            apply({"params": params}, inputs, noise, method="discriminator_logits")[..., None],
            apply({"params": params}, inputs, every, method="generator_logits"),
        )

    return objective, lambda ids: [np.asarray(x)[0] for x in networks(ids)]


def test_changing_one_document_changes_no_logit_of_another_exactly(packed_network):
    _, networks = packed_network
    ids = rows_of([[9, 11, 8]], 32)
    changed = ids.at[0, 10:19].set(rows_of([[11]], 11, seed=9)[0, 1:10])
    assert int(jnp.sum(ids != changed)) >= 7
    for before, after in zip(networks(ids), networks(changed)):
        np.testing.assert_array_equal(before[:9], after[:9])
        np.testing.assert_array_equal(before[20:28], after[20:28])
        assert np.abs(before[9:20] - after[9:20]).max(-1).min() > 1e-4


def test_a_document_has_the_same_logits_wherever_it_stands(packed_network):
    """Positions restart (without dropout, whose mask belongs to the place in the row)."""
    _, networks = packed_network
    ids = rows_of([[9, 11, 8]], 32)
    alone = jnp.full_like(ids, SPECIAL.pad).at[0, :11].set(ids[0, 9:20])
    packed, single = networks(ids)[2], networks(alone)[2]
    np.testing.assert_allclose(packed[9:20], single[:11], atol=1e-5)


def test_another_document_s_words_change_no_selection_elsewhere(packed_network):
    """Counts are each piece's own, and ranks are among the piece's own draws."""
    objective, _ = packed_network
    ids = rows_of([[9, 11, 8]], 32)
    fewer = ids.at[0, 10:18].set(SPECIAL.mask)  # one candidate left in the second piece
    chosen = []
    for row in (ids, fewer):
        rows = mask_rows(objective, row, draws_of(1))
        selected = np.zeros(32, bool)
        used = np.asarray(rows.selection.weights[0]) > 0
        selected[np.asarray(rows.selection.positions[0])[used]] = True
        chosen.append(selected)
    np.testing.assert_array_equal(chosen[0][:9], chosen[1][:9])
    np.testing.assert_array_equal(chosen[0][20:], chosen[1][20:])
    assert [chosen[0][s].sum() for s in (slice(9), slice(9, 20), slice(20, 28))] == [2, 3, 2]
    assert chosen[1][9:20].sum() == 1
