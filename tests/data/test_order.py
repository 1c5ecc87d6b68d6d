"""The keyed permutation: a bijection, the same one in every version, without visible pattern."""

import numpy as np
import pytest

from electra_jax.data.order import LARGEST, permute, rows_of

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 13, 31, 32, 33, 97, 127, 128, 129, 255, 256, 257, 1000, 1023, 1025]
LARGE = [65_537, 2**20 - 1, 2**31, 10**10 + 19, 2**40 - 1, 2**40, 2**40 + 1, LARGEST]

# The first ids of permutations. A change of any of them reorders the examples of every run that is
# resumed with the new version, so change the code back, not the numbers.
GOLDEN = [
    (1, 0, [0]),
    (2, 0, [0, 1]),
    (3, 1, [0, 2, 1]),
    (10, 0, [7, 6, 8, 0, 9, 3, 4, 2]),
    (10, 1, [4, 8, 1, 2, 7, 3, 0, 6]),
    (1000, 12345, [297, 156, 160, 885, 292, 167, 571, 881]),
    (2**20, 2**64 - 1, [784830, 392311, 118284, 913168, 297621, 231764, 555480, 176579]),
    (10**12, 7, [854402713156, 429895207607, 582388838398, 787701458298]),
    (LARGEST, 7, [3755452237790573767, 2738806024485498254, 1152000262403085269]),
]


def plain_permute(index: int, n: int, key: int) -> int:
    """The same permutation written a second time, in Python's integers, one element at a time."""
    whole = 2**64 - 1

    def mix(value: int) -> int:
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & whole
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB & whole
        return value ^ (value >> 31)

    bits = max(8, (n - 1).bit_length())
    while True:
        left_bits = bits // 2
        right_bits = bits - left_bits
        left, right = index >> right_bits, index % 2**right_bits
        for number in range(1, 11):
            round_key = mix((key + number * 0x9E3779B97F4A7C15) & whole)
            left, right = right, left ^ (mix(right ^ round_key) % 2**left_bits)
            left_bits, right_bits = right_bits, left_bits
        index = left << right_bits | right
        if index < n:
            return index


@pytest.mark.parametrize(("n", "key", "expected"), GOLDEN)
def test_the_permutation_is_that_of_every_earlier_version(n, key, expected):
    assert permute(np.arange(len(expected)), n, key).tolist() == expected


def test_the_order_of_a_run_is_that_of_every_earlier_version():
    assert rows_of(np.arange(12), 10, 0).tolist() == [1, 4, 8, 2, 5, 9, 0, 6, 3, 7, 3, 4]
    late = [85928, 1005, 88540, 35757, 30715, 52066]
    assert rows_of(np.arange(10**9, 10**9 + 6), 123_457, -1).tolist() == late


@pytest.mark.parametrize("n", [1, 2, 3, 97, 1025, 2**31, 2**40 + 1, LARGEST])
def test_the_vectorised_permutation_equals_the_plain_one(n):
    index = sorted({0, n // 3, n // 2, max(n - 2, 0), n - 1})
    for key in (0, 1, 2**63, 2**64 - 1):
        assert permute(index, n, key).tolist() == [plain_permute(i, n, key) for i in index]


@pytest.mark.parametrize("n", SIZES)
def test_every_index_is_hit_once(n):
    for key in range(8):
        assert np.array_equal(np.sort(permute(np.arange(n), n, key)), np.arange(n))


@pytest.mark.parametrize("n", LARGE)
def test_no_two_of_many_indices_of_a_large_range_meet(n):
    rng = np.random.default_rng(n)
    index = np.unique(rng.integers(0, n, 20_000))
    image = permute(index, n, 3)
    assert len(np.unique(image)) == len(index)
    assert image.min() >= 0 and image.max() < n


def test_many_keys_at_once_equal_one_key_at_a_time():
    index, keys = np.arange(50), np.arange(50, dtype=np.uint64) % 3
    together = permute(index, 50, keys)
    apart = [int(permute([i], 50, k)[0]) for i, k in zip(index, keys)]
    assert together.tolist() == apart
    assert permute(index[None], 50, keys[:, None]).shape == (50, 50)


@pytest.mark.parametrize(("index", "n"), [([5], 5), ([-1], 5), ([0], 0), ([0], LARGEST + 1)])
def test_what_cannot_be_permuted_is_refused(index, n):
    with pytest.raises(ValueError, match=r"range|outside"):
        permute(index, n, 0)


@pytest.mark.parametrize("n", [2, 5, 8, 12, 33])
def test_each_index_goes_everywhere_equally_often(n):
    keys = np.arange(20_000, dtype=np.uint64)
    image = permute(np.arange(n)[None], n, keys[:, None])
    counts = np.stack([np.bincount(column, minlength=n) for column in image.T])
    # Rows and columns have fixed sums, hence the factor and the (n - 1)² degrees of freedom.
    expected = len(keys) / n
    chi_square = ((counts - expected) ** 2 / expected).sum() * (n - 1) / n
    freedom = (n - 1) ** 2
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("n", [5, 8, 12, 33])
def test_each_pair_of_neighbours_occurs_equally_often(n):
    keys = np.arange(20_000, dtype=np.uint64)
    image = permute(np.arange(n)[None], n, keys[:, None])
    counts = np.bincount((image[:, :-1] * n + image[:, 1:]).reshape(-1), minlength=n * n)
    counts = counts.reshape(n, n)[~np.eye(n, dtype=bool)]
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    freedom = len(counts) - 1
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("lag", [1, 2, 7, 64, 1024])
def test_neighbours_of_a_large_range_are_uncorrelated(lag):
    n = 200_003
    image = permute(np.arange(n), n, 11)
    correlation = np.corrcoef(image[:-lag], image[lag:])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(n)


def test_an_epoch_holds_each_row_once_and_epochs_differ():
    n = 1001
    run = rows_of(np.arange(3 * n), n, seed=5).reshape(3, n)
    assert (np.sort(run, axis=1) == np.arange(n)).all()
    for one, other in ((0, 1), (1, 2), (0, 2)):
        # Independent permutations share one place on average.
        assert (run[one] == run[other]).sum() < 8


def test_seeds_give_different_orders():
    n = 1001
    orders = [rows_of(np.arange(n), n, seed) for seed in (0, 1, 2, -1, 2**40)]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert (one == other).sum() < 8


def test_an_order_is_not_another_seeds_order_one_epoch_later():
    n = 1001
    assert (rows_of(np.arange(n, 2 * n), n, 0) == rows_of(np.arange(n), n, 1)).sum() < 8


@pytest.mark.parametrize(("start", "count"), [(0, 1), (7, 20), (19, 2), (95, 300), (10**15, 5)])
def test_a_piece_of_the_run_is_the_same_wherever_it_begins(start, count):
    whole = [int(rows_of([g], 20, 9)[0]) for g in range(start, start + count)]
    assert rows_of(np.arange(start, start + count), 20, 9).tolist() == whole
    assert rows_of(np.arange(start, start + count).reshape(1, -1), 20, 9).tolist() == [whole]


def test_no_examples_are_no_ids():
    ids = rows_of(np.arange(0), 20, 9)
    assert ids.shape == (0,) and ids.dtype == np.int64
