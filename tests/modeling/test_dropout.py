"""Dropout's mask: its rate, its scale, its independence, and what it is (not) a function of."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import draws_of

from electra_jax.modeling.dropout import DropoutRng, dropout, dropout_rng_from_key


def rng_of(rows, seed=0):
    return dropout_rng_from_key(jax.random.key(seed), jnp.asarray(rows, jnp.int32))


def mask(rng, shape, rate=0.5, site=1):
    """bool: where dropout keeps a value."""
    return np.asarray(dropout(jnp.ones(shape), rate, rng, site)) > 0


def correlation(a, b):
    """Correlation of two masks in standard errors of zero correlation."""
    a, b = (np.asarray(x, np.float64).ravel() for x in (a, b))
    return abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(a.size)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_rate_is_kept_and_survivors_are_scaled(rate):
    shape = (32, 24, 96)
    out = np.asarray(dropout(jnp.full(shape, 3.0), rate, rng_of(range(32)), 1))
    kept = out != 0
    np.testing.assert_allclose(out[kept], 3.0 / (1 - rate), rtol=1e-6)
    error = np.sqrt(rate * (1 - rate) / out.size)
    assert abs((~kept).mean() - rate) < 3 * error
    # Also in every slice: chi-squared with one degree of freedom for each row, position and unit.
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        n = out.size // shape[axis]
        z = ((~kept).mean(others) - rate) / np.sqrt(rate * (1 - rate) / n)
        assert abs((z**2).sum() - shape[axis]) < 4 * np.sqrt(2 * shape[axis]), axis


def test_neighbouring_rows_positions_and_units_are_independent():
    kept = mask(rng_of(range(64)), (64, 32, 64))
    for axis in range(3):
        for shift in (1, 2, 3, 8):
            a = np.take(kept, range(shift, kept.shape[axis]), axis)
            b = np.take(kept, range(kept.shape[axis] - shift), axis)
            assert correlation(a, b) < 4, (axis, shift)
    # Row r, position p and row p, position r are different places.
    square = mask(rng_of(range(32)), (32, 32, 64))
    row, position = np.triu_indices(32, 1)
    assert correlation(square[row, position], square[position, row]) < 4


def test_layers_sites_steps_streams_and_seeds_are_independent():
    shape = (16, 32, 64)
    masks = {("layer", i): mask(rng_of(range(16)).fold(i), shape) for i in range(3)}
    masks |= {("site", i): mask(rng_of(range(16)), shape, site=i) for i in range(1, 5)}
    masks |= {("seed", i): mask(rng_of(range(16), seed=i), shape) for i in (1, 2)}
    for step, stream in itertools.product((0, 1), ("generator_dropout", "discriminator_dropout")):
        masks[(step, stream)] = mask(draws_of(16, step=step).noise(stream), shape)
    for (one, a), (two, b) in itertools.combinations(masks.items(), 2):
        assert correlation(a, b) < 4.5, (one, two)


def test_a_mask_is_a_function_of_seed_row_position_and_unit_whatever_the_shape():
    small = mask(rng_of([5, 9]), (2, 3, 6, 10))
    large = mask(rng_of([9, 1, 5]), (3, 4, 9, 33))
    np.testing.assert_array_equal(small[0], large[2, :3, :6, :10])
    np.testing.assert_array_equal(small[1], large[0, :3, :6, :10])


def test_the_gradient_uses_the_mask_of_the_forward_pass():
    shape, rate = (4, 8, 16), 0.3
    x = jax.random.normal(jax.random.key(1), shape)
    weights = jax.random.normal(jax.random.key(2), shape)

    @jax.jit
    def both(x):
        out = dropout(x, rate, rng_of(range(4)), 2)
        return out, jax.grad(lambda x: jnp.sum(weights * dropout(x, rate, rng_of(range(4)), 2)))(x)

    out, gradient = both(x)
    expected = np.where(np.asarray(out) != 0, np.asarray(weights) / (1 - rate), 0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_the_mask_is_the_same_compiled_or_not():
    x = jnp.ones((3, 5, 7))
    eager = dropout(x, 0.5, rng_of(range(3)), 1)
    compiled = jax.jit(lambda x, rows: dropout(x, 0.5, rng_of(rows), 1))(x, jnp.arange(3))
    np.testing.assert_array_equal(eager, compiled)


def test_no_rng_or_no_rate_is_the_identity():
    x = jnp.arange(6.0).reshape(1, 2, 3)
    assert dropout(x, 0.5, None, 1) is x
    assert dropout(x, 0.0, rng_of([0]), 1) is x


def test_bfloat16_stays_bfloat16():
    out = dropout(jnp.ones((2, 3), jnp.bfloat16), 0.5, rng_of(range(2)), 1)
    assert out.dtype == jnp.bfloat16


def test_the_hash_is_the_one_that_checkpoints_were_trained_with():
    """Golden numbers: a change of the hash changes every resumed run."""
    fixed = DropoutRng(seed=jnp.uint32(12345), rows=jnp.asarray([0, 7], jnp.int32))
    packed = np.packbits(mask(fixed, (2, 3, 16)).reshape(-1)).tobytes().hex()
    assert packed == "8d2be02db62bee31b8fc64e1"
