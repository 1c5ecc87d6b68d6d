"""What is selected together (words, n-grams), what is hidden beside what is predicted, and what
of it is replaced."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import (
    FIRST_WORD,
    SPECIAL,
    VOCAB,
    corrupt_rows,
    draws_of,
    mask_rows,
    quick_jit,
    rows_of,
    tiny_objective,
)

from electra_jax.objectives.masking import group_starts

# Every third token goes on with a word.
STARTS = np.arange(VOCAB) % 3 != 0
LENGTHS = [[32], [17], [5, 9, 12], [8, 8, 8, 8], [3] * 10, []]


def objective_of(segments=1, **settings):
    objective = tiny_objective(seq_len=32, max_segments=segments, **settings)
    masking = dataclasses.replace(objective.masking, word_starts=STARTS.tobytes())
    return dataclasses.replace(objective, masking=masking)


def masked(lengths=LENGTHS, times=1, step=0, **settings):
    """(ids, rows, where they are selected) of packings, each with `times` different draws."""
    objective = objective_of(max(map(len, lengths)), **settings)
    ids = np.repeat(np.asarray(rows_of(lengths, 32)), times, axis=0)
    rows = jax.device_get(mask_rows(objective, jnp.asarray(ids), draws_of(len(ids), step)))
    return ids, rows, where(rows.selection, ids)


def where(selection, ids):
    """bool, of the shape of `ids`: what is selected."""
    found = np.zeros(ids.shape, bool)
    used = np.asarray(selection.weights) > 0
    found[np.nonzero(used)[0], np.asarray(selection.positions)[used]] = True
    return found


def plain_groups(may_select, words, lengths):
    """Where groups begin, one token after another."""
    starts = np.zeros(may_select.shape, bool)
    for row in range(len(may_select)):
        left, inside = 0, False
        for i, may in enumerate(may_select[row]):
            if may and (words[row, i] or not inside):
                starts[row, i] = left == 0 or not inside
                left = lengths[row, i] - 1 if starts[row, i] else left - 1
            inside = bool(may)
    return starts


@pytest.mark.parametrize("longest", [1, 2, 4])
def test_groups_are_words_and_n_grams_of_them_that_cross_no_special_token(longest):
    rng = np.random.default_rng(longest)
    may, words = rng.random((40, 23)) < 0.9, rng.random((40, 23)) < 0.6
    lengths = rng.integers(1, longest + 1, (40, 23))
    found = group_starts(*map(jnp.asarray, (may, words, lengths)), longest)
    np.testing.assert_array_equal(found, plain_groups(may, words, lengths))


def groups(ids):
    """The number of each token's word, −1 where it may not be selected."""
    may = ids >= FIRST_WORD
    starts = plain_groups(may, STARTS[ids], np.ones(ids.shape, int))
    return np.where(may, np.cumsum(starts, axis=1) - 1, -1)


@pytest.mark.parametrize("share", [0.15, 0.4])
def test_words_are_selected_whole_but_for_one_a_document(share):
    """And as many tokens as without words, so that denominators know the number beforehand."""
    ids, rows, selected = masked(times=200, mask_prob=share, whole_words=True)
    words, segments = groups(ids), np.asarray(rows.structure.segment_ids)
    cut, whole = 0, 0
    for row in range(len(ids)):
        for number in range(1, segments[row].max() + 1):
            parts = [
                selected[row][words[row] == word]
                for word in np.unique(words[row][(segments[row] == number) & (words[row] >= 0)])
            ]
            touched = [part for part in parts if part.any()]
            partial = [part for part in touched if not part.all()]
            assert len(partial) <= 1
            # Of the word that is cut its first tokens are selected.
            assert all((np.diff(part.astype(int)) <= 0).all() for part in partial)
            cut, whole = cut + len(partial), whole + len(touched) - len(partial)
    assert whole > cut > 0
    _, plain, _ = masked(times=200, mask_prob=share)
    np.testing.assert_array_equal(
        np.sum(rows.selection.weights, 1), np.sum(plain.selection.weights, 1)
    )


def test_short_and_long_words_are_selected_alike():
    times = 3000
    ids, _, selected = masked([[32]], times, mask_prob=0.15, whole_words=True)
    words = groups(ids[:1])[0]
    first = [np.flatnonzero(words == word)[0] for word in range(words.max() + 1)]
    rates = selected[:, first].mean(0)
    error = np.sqrt(rates.mean() * (1 - rates.mean()) / times)
    assert np.abs(rates - rates.mean()).max() < 4.5 * error


def test_n_grams_have_their_weights():
    """Selections that are far below a row's words seldom touch: runs are then the groups."""
    objective = objective_of(mask_prob=0.15, ngrams=(0.5, 0.3, 0.2))
    times = 4000
    ids = jnp.repeat(rows_of([[32]], 32), times, axis=0)
    draws = draws_of(times)
    uniforms = quick_jit(
        lambda ids: objective.masking._grouped(
            draws.uniform("select", jnp.arange(32)[None, :])[0], ids, ids >= FIRST_WORD, draws
        )
    )(ids)
    inner = np.asarray(uniforms)[:, 1:31]
    # A group is a run of one number; the last of a row may be cut by its end.
    starts = np.concatenate([np.ones((times, 1), bool), np.diff(inner, axis=1) != 0], axis=1)
    runs = [np.diff(np.flatnonzero(row)) for row in starts]
    lengths = np.concatenate([run[:5] for run in runs])  # the first ones know no end
    assert len(lengths) > 4 * times
    for length, weight in ((1, 0.5), (2, 0.3), (3, 0.2)):
        error = np.sqrt(weight * (1 - weight) / len(lengths))
        assert abs((lengths == length).mean() - weight) < 4 * error
    _, _, selected = masked([[32]], 200, mask_prob=0.4, ngrams=(0, 0, 0, 1), whole_words=True)
    neighbours = (selected[:, 1:30] & selected[:, 2:31]).sum() / selected[:, 1:30].sum()
    _, _, alone = masked([[32]], 200, mask_prob=0.4)
    assert neighbours > 0.75 > 0.5 > (alone[:, 1:30] & alone[:, 2:31]).sum() / alone[:, 1:30].sum()


SETTINGS = (
    {"whole_words": True},
    {"whole_words": True, "ngrams": (0.4, 0.3, 0.2, 0.1), "mask_prob": 0.3},
    {"mask_prob": "linear(0.3, 0.15)", "hidden_prob": 0.4},
    {"replaced_share": 0.5, "masked_share": 1.0},
)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(s))
def test_denominators_are_known_beforehand_and_a_row_s_masks_are_its_own(settings):
    objective = objective_of(10, **settings)
    if "linear" in str(settings):
        resolved = objective.settings.over(10)
        rate = dataclasses.replace(resolved, mask_prob=resolved_schedule("linear(0.3, 0.15)"))
        masking = dataclasses.replace(objective.masking, settings=rate)
        objective = dataclasses.replace(objective, settings=rate, masking=masking)
    ids = rows_of(LENGTHS, 32)
    batch, step = {"input_ids": ids}, jnp.int32(3)
    rows = mask_rows(objective, ids, draws_of(len(ids), 3))
    assert float(objective.weights(batch, step)["generator_loss"]) == float(
        rows.selection.weights.sum()
    )
    part = mask_rows(objective, ids[2:], draws_of(len(ids) - 2, 3, first=2))
    for one, other in zip(jax.tree.leaves(part), jax.tree.leaves(rows), strict=True):
        np.testing.assert_array_equal(one, other[2:])


def resolved_schedule(text, steps=10):
    from electra_jax.config.schedule import Schedule

    return Schedule.parse(text).over(steps)


def evaluated(objective, ids):
    return quick_jit(
        lambda ids: objective.masking.mask({"input_ids": ids}, draws_of(len(ids)), False)
    )(ids)


def test_evaluation_has_its_own_rate_whatever_the_run_s():
    ids = rows_of([[32], [20]], 32)
    plain = evaluated(objective_of(mask_prob=0.15), ids)
    for settings in ({"mask_prob": 0.3}, {"mask_prob": resolved_schedule("linear(0.4, 0.2)")}):
        objective = objective_of(**settings, eval_mask_prob=0.15, hidden_prob=0.5, replaced_share=0)
        rows = evaluated(objective, ids)
        np.testing.assert_array_equal(rows.masked_ids, plain.masked_ids)
        assert rows.replaced is None
        count = float(objective.weights({"input_ids": ids})["generator_loss"])
        assert count == float(plain.selection.weights.sum()) == 5 + 3
    more = evaluated(objective_of(mask_prob=0.1, eval_mask_prob=0.3), ids)
    assert float(more.selection.weights.sum()) == 10 + 6


def test_more_can_be_hidden_than_is_predicted():
    ids, rows, selected = masked([[32]], 500, mask_prob=0.15, hidden_prob=0.4, masked_share=1.0)
    hidden = np.asarray(rows.masked_ids) == SPECIAL.mask
    assert (hidden.sum(1) == 13).all() and (selected.sum(1) == 5).all()
    assert hidden[selected].all()
    _, _, plain = masked([[32]], 500, mask_prob=0.15)
    np.testing.assert_array_equal(selected, plain)
    np.testing.assert_array_equal(np.where(hidden, ids, rows.masked_ids), ids)


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_the_masked_share_of_the_selected_is_hidden(share):
    _, rows, selected = masked([[32]], 500, mask_prob=0.4, masked_share=share)
    hidden = np.asarray(rows.masked_ids) == SPECIAL.mask
    assert not hidden[~selected].any()
    error = np.sqrt(share * (1 - share) / selected.sum())
    assert abs(hidden[selected].mean() - share) <= 4 * error


@pytest.mark.parametrize("masking", ["without_replacement", "reference"])
def test_replacing_can_stop_while_predicting_goes_on(masking):
    ids = jnp.repeat(rows_of([[32]], 32), 300, axis=0)
    stop = resolved_schedule("step(1, 0, share=0.8)")
    for share, step, expected in ((stop, 7, 1.0), (stop, 8, 0.0), (0.5, 0, 0.5)):
        objective = tiny_objective(
            seq_len=32, masking=masking, mask_prob=0.25, replaced_share=share
        )
        rows = mask_rows(objective, ids, draws_of(300, step))
        inputs, labels = corrupt_rows(objective, rows, jnp.full(rows.targets.shape, 96))
        seen = np.asarray(inputs.input_ids)
        other = where(rows.selection, seen) & (np.asarray(ids) != 96)
        rate, error = labels[other].mean(), np.sqrt(expected * (1 - expected) / other.sum())
        if masking == "reference" and expected == 0.5:
            error += 0.1  # a position drawn twice has two chances
        assert abs(rate - expected) <= 4 * error
        np.testing.assert_array_equal(seen != ids, labels.astype(bool))
        plain = tiny_objective(seq_len=32, masking=masking, mask_prob=0.25)
        same = mask_rows(plain, ids, draws_of(300, step))
        np.testing.assert_array_equal(rows.masked_ids, same.masked_ids)
        np.testing.assert_array_equal(rows.selection.weights, same.selection.weights)
