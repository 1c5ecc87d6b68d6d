"""Digests of arrays and lists of files: every change is noticed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.training.checkpoint.integrity import damage, digests, seal


def test_a_digest_changes_with_every_single_bit():
    """Every bit of a small array, at the widths that states have."""
    for dtype in (np.uint8, np.uint16, np.uint32):
        width = np.dtype(dtype).itemsize * 8
        base = np.random.default_rng(0).integers(0, 2**width, 5, dtype=dtype)
        variants = [base]
        for place in range(len(base)):
            for bit in range(width):
                variants.append(base.copy())
                variants[-1][place] ^= dtype(1 << bit)
        found = digests([jnp.asarray(variant) for variant in variants])
        assert len(set(found)) == len(variants)


def test_a_digest_changes_when_two_elements_are_swapped():
    """Also where they differ in the sign alone, which weighted sums with odd weights miss."""
    array = jnp.array([1.5, -1.5, 2.0, 2.5, -2.5, 0.0, -0.0, 3.0])
    swapped = []
    for i in range(8):
        for j in range(i):
            order = np.arange(8)
            order[[i, j]] = order[[j, i]]
            swapped.append(array[order])
    found = digests([array, *swapped, array[::-1], array.reshape(2, 4).T.reshape(-1)])
    assert len(set(found)) == len(found)


def test_a_digest_sees_each_half_of_a_64_bit_element():
    with jax.enable_x64(True):
        one, low, high = (jnp.array([v], jnp.int64) for v in (1, 2, 1 + 2**40))
        assert len(set(digests([one, low, high]))) == 3


@pytest.fixture
def sealed(tmp_path):
    """A folder of two files with its list."""
    folder = tmp_path / "7"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"first")
    (folder / "deep/b").write_bytes(b"second")
    seal(folder)
    return folder


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda folder: None, None),
        (lambda folder: (folder / "deep/b").unlink(), "deep/b is missing"),
        (lambda folder: (folder / "a").write_bytes(b"fir"), "a has 3 bytes and was written with 5"),
        (lambda folder: (folder / "a").write_bytes(b"fjrst"), "a has changed since"),
        (lambda folder: (folder / "files.json").write_text("{"), "files.json cannot be read"),
        (lambda folder: (folder / "files.json").write_text("[]"), "files.json cannot be read"),
        (lambda folder: (folder / "files.json").unlink(), None),  # the arrays' digests have to do
    ],
)
def test_the_first_fault_of_a_checkpoint_s_files_is_named(sealed, harm, found):
    harm(sealed)
    fault = damage(sealed)
    assert fault is None if found is None else found in fault
