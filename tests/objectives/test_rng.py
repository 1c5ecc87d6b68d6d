"""Draws are functions of (seed, step, stream, row, position, unit) and are uniform."""

import itertools

import jax.numpy as jnp
import numpy as np
from objectives.tiny import draws_of

from electra_jax.objectives.rng import STREAMS


def test_a_draw_is_the_same_whatever_the_rows_and_positions_beside_it():
    positions = jnp.asarray([[3, 0, 11], [5, 5, 2]])
    draws = draws_of(2, first=7)
    table, other = (np.asarray(x) for x in draws_of(20).uniform("sample", jnp.arange(16)[None, :]))
    one, two = draws.uniform("sample", positions)
    for row in range(2):
        np.testing.assert_array_equal(one[row], table[7 + row][positions[row]])
        np.testing.assert_array_equal(two[row], other[7 + row][positions[row]])


def test_a_unit_s_draw_is_the_same_whatever_the_number_of_units():
    positions = jnp.arange(4)[None, :]
    few = draws_of(3).uniform_units("sample", positions, 5)
    many = draws_of(3).uniform_units("sample", positions, 50)
    assert few.shape == (3, 4, 5)
    np.testing.assert_array_equal(few, many[..., :5])


def test_draws_are_uniform_and_never_one():
    positions = jnp.arange(256)[None, :]
    first, second = (np.asarray(x) for x in draws_of(256).uniform("select", positions))
    units = np.asarray(draws_of(16).uniform_units("sample", jnp.arange(16)[None, :], 256))
    for values in (first, second, units):
        assert 0 <= values.min() < 1e-3 and 0.999 < values.max() < 1
        counts, _ = np.histogram(values, bins=64, range=(0, 1))
        expected = values.size / 64
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi2 - 63) < 4 * np.sqrt(2 * 63)
        assert values.dtype == np.float32


def test_seeds_steps_streams_and_the_pair_are_independent():
    positions = jnp.arange(128)[None, :]
    tables = {
        (seed, step, stream): draws_of(64, step=step, seed=seed).uniform(stream, positions)
        for seed, step, stream in [(0, 0, s) for s in STREAMS]
        + [(0, 1, "select"), (1, 0, "select")]
    }
    values = {(*k, i): np.asarray(v[i]).ravel() for k, v in tables.items() for i in (0, 1)}
    for (one, a), (two, b) in itertools.combinations(values.items(), 2):
        assert abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(a.size) < 4.5, (one, two)


def test_rows_and_positions_are_independent():
    table = np.asarray(draws_of(128).uniform("select", jnp.arange(128)[None, :])[0])
    for a, b in (
        (table[1:], table[:-1]),
        (table[:, 1:], table[:, :-1]),
        (table[1:, 1:], table[:-1, :-1]),
    ):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) * np.sqrt(a.size) < 4
    upper = np.triu_indices(128, 1)
    transposed = np.corrcoef(table[upper], table.T[upper])[0, 1]
    assert abs(transposed) * np.sqrt(len(upper[0])) < 4
