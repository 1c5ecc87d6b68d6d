"""Replacement tokens: the reference's sampler on recorded noise, and ours exact in distribution."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import draws_of, mask_rows, quick_jit, rows_of, sample_tokens, tiny_objective

from electra_jax.config.schedule import Schedule
from electra_jax.objectives.corruption import CorruptionSettings
from electra_jax.objectives.sampling import gumbel_sample, inverse_cdf_sample, tempered

LAST = 1 - 2.0**-24  # the largest uniform
draw = quick_jit(inverse_cdf_sample)


@pytest.mark.parametrize("disallow", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1, 2])
def test_recorded_noise_gives_the_recorded_samples(oracles, temperature, disallow):
    arrays = np.load(oracles / "masking/sampler_fixed_noise.npz")
    forbidden = jnp.asarray(arrays["true_ids"]) if disallow else None
    logits = tempered(jnp.asarray(arrays["logits"]), temperature, forbidden)
    sampled = gumbel_sample(logits, jnp.asarray(arrays["uniform_noise"]))
    kind = "disallow_correct" if disallow else "plain"
    np.testing.assert_array_equal(sampled, arrays[f"sampled_T{temperature}_{kind}"])


def uniforms(n, seed=0):
    """Two float32 tables [1, n] as `Draws` makes them: multiples of 2⁻²⁴."""
    rng = np.random.default_rng(seed)
    draw = lambda: jnp.asarray(rng.integers(0, 2**24, (1, n)) * 2.0**-24, jnp.float32)  # noqa: E731
    return draw(), draw()


def chi_squared(counts, probabilities):
    """z of chi-squared, cells with fewer than five expected draws put together."""
    expected = probabilities * counts.sum()
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    counts, expected = counts[expected > 0], expected[expected > 0]
    degrees = len(counts) - 1
    return (((counts - expected) ** 2 / expected).sum() - degrees) / np.sqrt(2 * degrees)


@pytest.mark.parametrize("vocab", [2, 10, 16, 97])
def test_inverse_cdf_draws_from_the_softmax(vocab):
    n = 20_000
    rng = np.random.default_rng(vocab)
    row = rng.normal(0, 2, vocab).astype(np.float32)
    row[vocab // 2] = 30 if vocab == 10 else row[vocab // 2]  # one token has almost everything
    logits = jnp.broadcast_to(jnp.asarray(row), (1, n, vocab))
    sampled = np.asarray(draw(logits, *uniforms(n)))
    assert sampled.dtype == np.int32
    probabilities = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
    assert abs(chi_squared(np.bincount(sampled[0], minlength=vocab), probabilities)) < 4


@pytest.mark.parametrize("vocab", [10, 97])
def test_every_token_owns_an_area_of_its_probability(vocab):
    """A grid over both uniforms: no randomness, an error of at most a grid line a side."""
    lines = 256
    row = np.random.default_rng(1).normal(0, 2, vocab).astype(np.float32)
    grid = (np.arange(lines) + 0.5) / lines
    first, second = (jnp.asarray(x.reshape(1, -1), jnp.float32) for x in np.meshgrid(grid, grid))
    logits = jnp.broadcast_to(jnp.asarray(row), (1, lines**2, vocab))
    sampled = np.asarray(draw(logits, first, second))[0]
    probabilities = np.exp(row) / np.exp(row).sum()
    area = np.bincount(sampled, minlength=vocab) / lines**2
    blocks = math.ceil(math.sqrt(vocab))
    block = np.arange(vocab) // blocks
    mass = np.bincount(block, probabilities)[block]
    # A line of the grid too many or too few on either axis.
    bound = (probabilities / mass + mass) / lines + 2 / lines**2
    assert (np.abs(area - probabilities) <= bound).all()


@pytest.mark.parametrize("vocab", [10, 16, 97, 30522])
def test_the_ends_of_the_unit_interval_draw_tokens_that_have_mass(vocab):
    logits = np.full((1, 4, vocab), -1e9, np.float32)
    logits[0, 0, 3] = logits[0, 0, vocab - 2] = 0.0  # mass at two places only
    logits[0, 1] = np.random.default_rng(0).normal(size=vocab)
    logits[0, 2, vocab - 1] = 5.0  # the last token alone, in the block that is padded
    logits[0, 3, 0] = 5.0
    for first in (0.0, LAST):
        for second in (0.0, LAST):
            one, two = (jnp.full((1, 4), u, jnp.float32) for u in (first, second))
            sampled = np.asarray(draw(jnp.asarray(logits), one, two))[0]
            assert (sampled < vocab).all() and (sampled >= 0).all()
            assert sampled[0] in (3, vocab - 2)
            assert sampled[2] == vocab - 1 and sampled[3] == 0
            if first == second:
                assert sampled[0] == (3 if first == 0 else vocab - 2)
                assert sampled[1] == (0 if first == 0 else vocab - 1)


def test_tokens_of_tiny_probability_are_drawn_as_rarely_as_they_should():
    """90 tokens of 1e-3 together: drawn in proportion, not rounded away or favoured."""
    vocab, n = 97, 200_000
    probabilities = np.full(vocab, 1e-3 / 90)
    probabilities[::14] = (1 - 1e-3) / 7
    assert abs(probabilities.sum() - 1) < 1e-12
    logits = jnp.broadcast_to(jnp.log(jnp.asarray(probabilities, jnp.float32)), (1, n, vocab))
    sampled = np.asarray(draw(logits, *uniforms(n, 3)))[0]
    rare = ~np.isin(sampled, np.arange(0, vocab, 14))
    assert abs(rare.sum() - n * 1e-3) < 3 * np.sqrt(n * 1e-3)


def test_both_samplers_draw_from_one_distribution():
    vocab, n = 23, 8_000
    row = jnp.asarray(np.random.default_rng(5).normal(0, 1.5, vocab), jnp.float32)
    logits = jnp.broadcast_to(row, (1, n, vocab))
    noise = draws_of(1).uniform_units("sample", jnp.arange(n)[None, :], vocab)
    counts = [
        np.bincount(np.asarray(sampled)[0], minlength=vocab)
        for sampled in (gumbel_sample(logits, noise), draw(logits, *uniforms(n)))
    ]
    probabilities = np.asarray(jax.nn.softmax(row), np.float64)
    assert all(abs(chi_squared(c, probabilities / probabilities.sum())) < 4 for c in counts)
    # Two samples of one distribution differ by chance alone.
    total = counts[0] + counts[1]
    kept = total >= 10
    chi2 = ((counts[0] - counts[1]) ** 2 / np.maximum(total, 1))[kept].sum()
    assert abs(chi2 - kept.sum()) < 4 * np.sqrt(2 * kept.sum())


def test_temperature_divides_before_the_correct_token_is_forbidden():
    logits = jnp.asarray([[[2.0, 4.0, -6.0]]])
    np.testing.assert_allclose(tempered(logits, 2.0), [[[1, 2, -3]]])
    forbidden = tempered(logits, 2.0, jnp.asarray([[1]]))
    np.testing.assert_allclose(forbidden, [[[1, 2 - 1000, -3]]])


@pytest.mark.parametrize("sampler", ["inverse_cdf", "gumbel"])
def test_disallow_correct_never_samples_the_original(sampler):
    objective = tiny_objective(seq_len=32, mask_prob=0.4, disallow_correct=True, sampler=sampler)
    rows = mask_rows(objective, rows_of([[32]] * 8, 32), draws_of(8))
    # The generator is sure of the original.
    logits = 20.0 * jax.nn.one_hot(rows.targets, 97)
    sampled = sample_tokens(objective, logits, rows, draws_of(8))
    used = np.asarray(rows.selection.weights) > 0
    assert not (np.asarray(sampled) == np.asarray(rows.targets))[used].any()
    allowed = tiny_objective(seq_len=32, mask_prob=0.4, sampler=sampler)
    sampled = sample_tokens(allowed, logits, rows, draws_of(8))
    assert (np.asarray(sampled) == np.asarray(rows.targets))[used].all()


@pytest.mark.parametrize("sampler", ["inverse_cdf", "gumbel"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_objective_samples_at_its_temperature(sampler, temperature):
    vocab, times = 97, 600
    objective = tiny_objective(seq_len=32, mask_prob=0.4, sampler=sampler, temperature=temperature)
    row = np.random.default_rng(2).normal(0, 1, vocab).astype(np.float32)
    rows = mask_rows(objective, rows_of([[32]] * times, 32), draws_of(times))
    logits = jnp.broadcast_to(jnp.asarray(row), (*rows.selection.positions.shape, vocab))
    sampled = np.asarray(sample_tokens(objective, logits, rows, draws_of(times)))
    used = np.asarray(rows.selection.weights) > 0
    sharp = np.exp(row.astype(np.float64) / temperature)
    counts = np.bincount(sampled[used], minlength=vocab)
    assert abs(chi_squared(counts, sharp / sharp.sum())) < 4


def test_the_temperature_falls_exponentially_to_its_final_value():
    settings = CorruptionSettings(
        temperature=1.0, initial_temperature=4.0, temperature_fraction=0.5
    ).over(200)
    at = [float(settings.temperature_at(jnp.int32(s))) for s in (0, 25, 50, 100, 1000)]
    np.testing.assert_allclose(at, [4, 4**0.75, 2, 1, 1], rtol=1e-6)
    halved = CorruptionSettings(temperature=Schedule("exponential", 2.0, 0.5, steps=10))
    np.testing.assert_allclose(float(halved.temperature_at(jnp.int32(5))), 1.0, rtol=1e-6)
    assert float(CorruptionSettings(temperature=0.7).temperature_at(jnp.int32(5))) == np.float32(
        0.7
    )


def test_evaluation_samples_at_the_final_temperature():
    falling = Schedule("exponential", 50.0, 0.05, steps=1000)
    objective = tiny_objective(seq_len=32, mask_prob=0.4, temperature=falling)
    rows = mask_rows(objective, rows_of([[32]] * 8, 32), draws_of(8))
    logits = jax.nn.one_hot(rows.targets, 97)  # the original by a nat
    used = np.asarray(rows.selection.weights) > 0
    hits = {
        train: (
            np.asarray(sample_tokens(objective, logits, rows, draws_of(8), train)) == rows.targets
        )[used]
        for train in (True, False)
    }
    assert hits[False].all() and hits[True].mean() < 0.2


def test_no_gradient_passes_through_tempered_logits():
    logits = jnp.ones((1, 2, 5))
    gradient = jax.grad(lambda x: jnp.sum(tempered(x, 0.5, jnp.zeros((1, 2), int)) ** 2))(logits)
    np.testing.assert_array_equal(gradient, jnp.zeros_like(logits))
