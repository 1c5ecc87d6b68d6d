"""Keyed random numbers: uniform, and pure functions of seed, stream and number."""

import numpy as np

from electra_jax.text.keyed_random import mix, uniform


def test_a_number_depends_on_its_key_alone():
    whole = uniform(3, 1, 0, 1000)
    assert np.array_equal(whole[200:300], uniform(3, 1, 200, 100))
    assert np.intersect1d(whole, uniform(3, 2, 0, 1000)).size == 0
    assert np.intersect1d(whole, uniform(4, 1, 0, 1000)).size == 0
    assert np.array_equal(uniform(-1, 1, 0, 5), uniform(2**64 - 1, 1, 0, 5))


def test_numbers_are_uniform_and_uncorrelated():
    count = 100_000
    numbers = uniform(0, 0, 0, count)
    assert 0 <= numbers.min() and numbers.max() < 1
    # Five standard errors of a histogram's bin and of a lag-1 correlation.
    bins = np.histogram(numbers, 20, (0, 1))[0]
    assert np.abs(bins - count / 20).max() < 5 * np.sqrt(count / 20)
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 5 / np.sqrt(count)


def test_the_finalizer_is_that_of_splitmix64():
    # The first outputs of SplitMix64 with seed 0 (Vigna's splitmix64.c).
    steps = np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert mix(steps).tolist() == expected
