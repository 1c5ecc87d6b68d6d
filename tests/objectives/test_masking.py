"""Which tokens are selected, and what the generator sees there: recorded draws, statistics."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import (
    FIRST_WORD,
    SPECIAL,
    corrupt_rows,
    draws_of,
    mask_rows,
    quick_jit,
    rows_of,
    tiny_objective,
)

from electra_jax.modeling.electra import gather_positions
from electra_jax.objectives.corruption import CorruptionSettings, Masking
from electra_jax.objectives.losses import replaced_labels
from electra_jax.objectives.masking import (
    Selection,
    candidates,
    mask_inputs,
    max_predictions_per_seq,
    num_to_mask,
    scatter_update,
    select_with_replacement,
    select_without_replacement,
)
from electra_jax.objectives.row_structure import SpecialIds


def special_of(recorded):
    return SpecialIds(**{k: v for k, v in recorded.items() if k != "size"})


# Recorded draws of the reference


@pytest.fixture(scope="module")
def fixed(oracles):
    arrays = dict(np.load(oracles / "masking/mask_and_scatter_fixed_draws.npz"))
    settings = json.loads((oracles / "masking/fixed_draws.json").read_text())
    selection = Selection(
        jnp.asarray(arrays["masked_lm_positions"]), jnp.asarray(arrays["masked_lm_weights"])
    )
    return arrays, settings, selection, special_of(settings["special_ids"])


def test_the_recording_has_the_awkward_draws(fixed):
    arrays, _, selection, _ = fixed
    edge = np.float32(0.85)
    assert (arrays["drawn_uniform"] == edge).any()
    assert (arrays["drawn_uniform"] == np.nextafter(edge, np.float32(0))).any()
    used = [p[w > 0] for p, w in zip(*map(np.asarray, (selection.positions, selection.weights)))]
    assert any(len(set(p)) < len(p) for p in used)


def test_masked_inputs_of_recorded_draws_are_identical(fixed):
    arrays, _, selection, special = fixed
    ids = jnp.asarray(arrays["input_ids"])
    masked = mask_inputs(
        ids, selection, jnp.asarray(arrays["drawn_uniform"]), special, average_duplicates=True
    )
    np.testing.assert_array_equal(masked, arrays["masked_input_ids"])


def test_candidates_and_number_of_slots_are_the_recorded_ones(fixed):
    arrays, settings, selection, special = fixed
    valid = jnp.asarray(arrays["input_mask"]) > 0
    may = candidates(jnp.asarray(arrays["input_ids"]), valid, special)
    np.testing.assert_array_equal(may, arrays["candidates_mask"])
    slots = max_predictions_per_seq(settings["max_seq_length"], settings["mask_prob"])
    assert slots == settings["max_predictions_per_seq"]
    number = jnp.minimum(num_to_mask(valid.sum(1), settings["mask_prob"]), slots)
    np.testing.assert_array_equal(number, np.asarray(selection.weights).sum(1))


def test_scattered_samples_and_labels_of_recorded_draws_are_identical(fixed):
    arrays, _, selection, _ = fixed
    ids = jnp.asarray(arrays["input_ids"])
    corrupted = scatter_update(
        ids, jnp.asarray(arrays["sampled_ids"]), selection, average_duplicates=True
    )
    np.testing.assert_array_equal(corrupted, arrays["scattered_ids"])
    valid = jnp.asarray(arrays["input_mask"]) > 0
    np.testing.assert_array_equal(replaced_labels(ids, corrupted, valid), arrays["is_fake_labels"])
    touched = scatter_update(
        jnp.zeros_like(ids), jnp.ones_like(selection.positions), selection, average_duplicates=True
    )
    np.testing.assert_array_equal(touched, arrays["scatter_mask"])


def test_gathers_of_recorded_draws_are_identical(fixed):
    arrays, _, selection, _ = fixed
    drawn = jnp.asarray(arrays["drawn_positions"])
    gathered = gather_positions(jnp.asarray(arrays["float_sequence"]), drawn)
    np.testing.assert_array_equal(gathered, arrays["gathered_float"])
    ids = jnp.take_along_axis(jnp.asarray(arrays["input_ids"]), drawn, axis=1)
    np.testing.assert_array_equal(ids, arrays["gathered_ids"])
    used = np.asarray(selection.weights) > 0
    np.testing.assert_array_equal(ids[used], arrays["masked_lm_ids"][used])


def test_slots_and_selections_of_every_recorded_length(oracles):
    table = json.loads((oracles / "masking/slots_table.json").read_text())
    assert len(table) >= 30
    for row in table:
        length, share = row["max_seq_length"], row["mask_prob"]
        slots = max_predictions_per_seq(length, share)
        assert slots == row["max_predictions_per_seq"]
        ours = np.minimum(np.asarray(num_to_mask(jnp.arange(1, length + 1), share)), slots)
        np.testing.assert_array_equal(ours, row["slots_for_length_1_to_L"])


@pytest.mark.parametrize("name", ["L128_p0.15", "L64_p0.25"])
def test_masking_with_replacement_has_the_recorded_statistics(oracles, name):
    recorded = json.loads((oracles / "masking/mask_statistics.json").read_text())[name]
    arrays = np.load(oracles / "masking/mask_statistics.npz")
    ids = arrays[f"{name}/input_ids"]
    special = special_of(recorded["special_ids"])
    share, slots = recorded["mask_prob"], recorded["max_predictions_per_seq"]
    count, times = len(ids), 2000
    masking = Masking(
        CorruptionSettings(mask_prob=share, masking="reference"), special, ids.shape[1]
    )
    assert masking.max_predictions == slots
    tiled = jnp.asarray(np.repeat(ids, times, axis=0))
    mask = quick_jit(lambda ids, draws: masking.mask({"input_ids": ids}, draws))
    rows = jax.device_get(mask(tiled, draws_of(count * times)))
    shape = (count, times, slots)
    positions, used = (
        np.asarray(x).reshape(shape) for x in (rows.selection.positions, rows.selection.weights)
    )
    masked = np.asarray(rows.masked_ids).reshape(count, times, -1)
    for i, (row, want) in enumerate(zip(ids, recorded["rows"])):
        assert used[i].sum() == want["n_slots"] * times
        hits = np.zeros((times, ids.shape[1]), int)
        for slot in range(want["n_slots"]):
            np.add.at(hits, (np.arange(times), positions[i, :, slot]), 1)
        allowed = ~np.isin(row, [special.pad, special.cls, special.sep, special.mask])
        assert hits[:, ~allowed].sum() == 0
        assert allowed.sum() == want["n_candidates"]
        # Slots drawn at each position, ours against theirs: chi-squared of two samples.
        theirs = arrays[f"{name}/position_selection_counts"][i][allowed]
        ours = hits.sum(0)[allowed]
        ratio = recorded["draws_per_row"] / times
        assert ours.sum() * ratio == theirs.sum()
        chi2 = ((ours * ratio - theirs) ** 2 / (theirs + ours * ratio**2)).sum()
        degrees = len(ours) - 1
        assert abs(chi2 - degrees) <= 4 * np.sqrt(2 * degrees)
        distinct = (hits > 0).sum(1)
        histogram = arrays[f"{name}/distinct_count_histogram"][i]
        values = np.arange(len(histogram))
        mean = (histogram * values).sum() / histogram.sum()
        spread = (histogram * (values - mean) ** 2).sum() / histogram.sum()
        error = np.sqrt(spread * (1 / times + 1 / histogram.sum()))
        assert abs(distinct.mean() - mean) < 3 * error or error == distinct.mean() - mean == 0
        # 85 % of slots write [MASK]: once or more at a position drawn more than once.
        hidden = masked[i] == special.mask
        np.testing.assert_array_equal(
            np.where(hidden, row, masked[i]), np.broadcast_to(row, hidden.shape)
        )
        assert not (hidden & (hits == 0))[:, allowed].any()
        once = hits == 1
        for chosen, key in ((once, "once"), (hits > 1, "more_than_once")):
            expected = want[f"fraction_MASK_given_selected_{key}"]
            if chosen.sum() < 50 or expected is None:
                continue
            error = np.sqrt(expected * (1 - expected) / chosen.sum()) * np.sqrt(1.1)
            assert abs(hidden[chosen].mean() - expected) < 3 * error, key


# Without replacement (the default)


def masked_rows(lengths, seq_len, times=1, mask_prob=0.15, seed=0):
    """(ids, rows) of packings, each repeated for `times` different draws."""
    ids = jnp.repeat(rows_of(lengths, seq_len, seed), times, axis=0)
    segments = max(len(x) for x in lengths)
    objective = tiny_objective(seq_len=seq_len, max_segments=segments, mask_prob=mask_prob)
    return np.asarray(ids), jax.device_get(mask_rows(objective, ids, draws_of(len(ids))))


LENGTHS = [[32], [17], [3], [5, 9, 12], [8, 8, 8, 8], [3] * 10, [20, 3], []]


@pytest.mark.parametrize("mask_prob", [0.15, 0.25, 0.4])
def test_every_piece_gets_its_round_number_of_selections(mask_prob):
    _, rows = masked_rows(LENGTHS, 32, mask_prob=mask_prob)
    segments = np.asarray(rows.structure.segment_ids)
    for row, lengths in enumerate(LENGTHS):
        used = rows.selection.weights[row] > 0
        positions = rows.selection.positions[row][used]
        assert (np.diff(positions) > 0).all()  # distinct, in order
        for number, length in enumerate(lengths, 1):
            share = max(1, round(float(np.float32(mask_prob) * np.float32(length))))
            expected = min(share, length - 2)
            assert (segments[row][positions] == number).sum() == expected
    # Unused slots come last and point at position 0.
    assert (np.diff(rows.selection.weights, axis=1) <= 0).all()
    assert (rows.selection.positions[rows.selection.weights == 0] == 0).all()


def test_full_rows_have_the_published_numbers_of_selections():
    for length, share, expected in ((128, 0.15, 19), (512, 0.15, 77), (512, 0.25, 128)):
        assert int(num_to_mask(jnp.asarray([length]), share)[0]) == expected
        _, rows = masked_rows([[length]], length, mask_prob=share)
        assert rows.selection.weights.sum() == expected


def test_specials_and_padding_are_never_selected_but_unknown_words_are():
    objective = tiny_objective(seq_len=16, mask_prob=0.9)
    row = [SPECIAL.cls, SPECIAL.unk, 9, SPECIAL.mask, 8, SPECIAL.sep, 7, SPECIAL.sep, *[0] * 8]
    rows = mask_rows(objective, jnp.asarray([row]), draws_of(1))
    selected = rows.selection.positions[rows.selection.weights > 0]
    assert selected.tolist() == [1, 2, 4, 6]
    assert SPECIAL.unk in rows.targets[rows.selection.weights > 0]


def test_selections_are_even_over_candidates_and_85_percent_are_hidden():
    times = 4000
    ids, rows = masked_rows([[16, 10]], 32, times=times, mask_prob=0.3)
    used = rows.selection.weights > 0
    selected = np.zeros(ids.shape, bool)
    selected[
        np.arange(times)[:, None].repeat(used.shape[1], 1)[used], rows.selection.positions[used]
    ] = True
    for piece, (start, length) in enumerate(((0, 16), (16, 10))):
        words = selected[:, start + 1 : start + length - 1]
        rate = round(0.3 * length) / (length - 2)
        assert (words.sum(1) == round(0.3 * length)).all(), piece
        z = (words.mean(0) - rate) / np.sqrt(rate * (1 - rate) / times)
        # k of n without replacement: the z² sum to n − 1 on average, times n / (n − 1).
        assert abs((z**2).sum() - (length - 2)) < 4 * np.sqrt(2 * (length - 2))
        # Any two words together: k (k − 1) / (n (n − 1)).
        k, n = round(0.3 * length), length - 2
        both = words[:, 0] & words[:, 1]
        rate = k * (k - 1) / (n * (n - 1))
        assert abs(both.mean() - rate) < 3 * np.sqrt(rate * (1 - rate) / times)
    hidden = np.asarray(rows.masked_ids) == SPECIAL.mask
    assert not hidden[~selected].any()
    error = np.sqrt(0.85 * 0.15 / selected.sum())
    assert abs(hidden[selected].mean() - 0.85) < 3 * error
    np.testing.assert_array_equal(np.where(hidden, ids, rows.masked_ids), ids)


def test_the_show_draw_is_independent_of_the_select_draw():
    times = 4000
    _, rows = masked_rows([[16]], 16, times=times, mask_prob=0.5)
    hidden = np.asarray(rows.masked_ids) == SPECIAL.mask
    shown = hidden[np.arange(times)[:, None], rows.selection.positions][:, :8]
    share = 0.85
    for slot in range(8):
        z = (shown[:, slot].mean() - share) / np.sqrt(share * (1 - share) / times)
        assert abs(z) < 4
    for slot in range(7):
        assert abs(np.corrcoef(shown[:, slot], shown[:, slot + 1])[0, 1]) * np.sqrt(times) < 4


def test_equal_uniforms_still_select_the_exact_number():
    may = jnp.ones((1, 8), bool)
    selection = select_without_replacement(may, jnp.ones((1, 8), int), jnp.zeros((1, 8)), 0.25, 4)
    assert selection.weights.tolist() == [[1, 1, 0, 0]]
    assert selection.positions.tolist() == [[0, 1, 0, 0]]


def test_the_largest_uniform_below_one_still_draws_a_candidate():
    may = jnp.asarray([[False, True, False, True, False]])
    top = jnp.full((1, 3), 1 - 2**-24, jnp.float32)
    selection = select_with_replacement(may, jnp.asarray([20]), top, 0.15, 3)
    assert selection.positions.tolist() == [[3, 3, 3]]
    selection = select_with_replacement(may, jnp.asarray([20]), top * 0, 0.15, 3)
    assert selection.positions.tolist() == [[1, 1, 1]]
    nothing = select_with_replacement(may & False, jnp.asarray([20]), top, 0.15, 3)
    assert nothing.weights.tolist() == [[0, 0, 0]]


# Slots


def test_slots_never_cut_a_packed_row():
    """Random packings, and rows of pieces of one length, where rounding up adds most."""
    rng = np.random.default_rng(0)
    for seq_len in (16, 64, 128, 512):
        for share in (0.05, 0.15, 0.25, 0.4):
            packings = [[n] * (seq_len // n) for n in range(3, min(seq_len, 40) + 1)]
            for _ in range(100):
                pieces, left = [], seq_len
                while left >= 3 and rng.random() > 0.02:
                    pieces.append(int(rng.integers(3, min(left, rng.integers(3, seq_len + 1)) + 1)))
                    left -= pieces[-1]
                packings.append(pieces or [3])
            for pieces in packings:
                needed = np.maximum(1, np.round(np.float32(share) * np.float32(pieces))).sum()
                assert needed <= max_predictions_per_seq(seq_len, share, len(pieces)), (
                    seq_len,
                    share,
                    pieces,
                )


def test_slots_of_one_piece_are_the_reference_s_and_packing_only_adds():
    assert [
        max_predictions_per_seq(128, 0.15),
        max_predictions_per_seq(512, 0.15),
        max_predictions_per_seq(512, 0.25),
    ] == [19, 79, 130]
    assert max_predictions_per_seq(4, 0.15) == 1
    for pieces in range(1, 40):
        assert (
            19
            <= max_predictions_per_seq(128, 0.15, pieces)
            <= max_predictions_per_seq(128, 0.15, pieces + 1)
            <= 128
        )


# Writing slots


def test_unused_slots_and_position_zero_are_never_written():
    row = jnp.asarray([[10, 11, 12, 13]])
    selection = Selection(jnp.asarray([[2, 0, 0]]), jnp.asarray([[1.0, 1.0, 0.0]]))
    for average in (True, False):
        out = scatter_update(row, jnp.asarray([[7, 8, 9]]), selection, average_duplicates=average)
        assert out.tolist() == [[10, 11, 7, 13]]


def test_values_at_a_duplicated_position_are_averaged_and_floored():
    row = jnp.asarray([[10, 11, 12, 13]])
    selection = Selection(jnp.asarray([[2, 2, 3]]), jnp.ones((1, 3)))
    out = scatter_update(row, jnp.asarray([[7, 8, 9]]), selection, average_duplicates=True)
    assert out.tolist() == [[10, 11, 7, 9]]
    assert math.floor((7 + 8) / 2) == 7


def test_every_selected_word_is_replaced_shown_or_hidden():
    """The sample is written on all selected positions, the 15 % that stayed visible included."""
    objective = tiny_objective(seq_len=32, mask_prob=0.4)
    ids = rows_of([[32], [20]], 32)
    rows = mask_rows(objective, ids, draws_of(2))
    sampled = jnp.full(rows.selection.positions.shape, 96)
    inputs, labels = corrupt_rows(objective, rows, sampled)
    selected = np.zeros(ids.shape, bool)
    used = np.asarray(rows.selection.weights) > 0
    for row in range(2):
        selected[row, np.asarray(rows.selection.positions)[row][used[row]]] = True
    assert (np.asarray(rows.masked_ids)[selected] >= FIRST_WORD).any()
    np.testing.assert_array_equal(np.where(selected, 96, ids), inputs.input_ids)
    np.testing.assert_array_equal(labels, selected & (np.asarray(ids) != 96))
