"""Sums between two rows of metrics; a loss that is not finite; the seconds of training."""

import time

import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.errors import DivergedError
from electra_jax.training.step import Packing, pack
from electra_jax.training.windows import Clock, Window


def vector(loss, norm=1.0):
    return pack({"loss_term": (jnp.float32(loss), jnp.float32(2)),
                 "gradient_norm": (jnp.float32(norm), jnp.float32(1))})  # fmt: skip


@pytest.fixture
def window():
    sums = {"loss_term": (np.zeros(()), np.zeros(())), "gradient_norm": (np.zeros(()),) * 2}
    return Window(Packing(sums), {"loss_term": 1.0})


def test_a_window_sums_what_is_settled_and_starts_again(window):
    for step in range(1, 6):
        window.add(step, vector(step))
    window.settle(3)
    assert window.steps == 3
    assert window.take()["loss_term"] == (1 + 2 + 3, 3 * 2)
    window.settle(5)
    assert window.steps == 2 and window.take()["loss_term"] == (4 + 5, 2 * 2)


def test_looking_into_a_window_changes_nothing(window):
    assert window.peek(5) is None
    for step in range(1, 5):
        window.add(step, vector(step))
    assert window.peek(0) is None
    assert window.peek(2)["loss_term"] == (1 + 2, 2 * 2)
    window.settle(3)
    assert window.peek(2)["loss_term"] == (1 + 2 + 3, 3 * 2)  # what is settled is in it
    assert window.peek(4)["loss_term"] == (1 + 2 + 3 + 4, 4 * 2)
    window.settle(4)
    assert window.steps == 4 and window.take()["loss_term"] == (1 + 2 + 3 + 4, 4 * 2)


@pytest.mark.parametrize(
    ("loss", "norm", "what"),
    [(np.nan, 1.0, "loss"), (np.inf, 1.0, "loss"), (1.0, np.inf, "gradient")],
)
def test_what_is_not_finite_ends_the_run_and_names_the_step(window, loss, norm, what):
    window.add(11, vector(1.0))
    window.add(12, vector(loss, norm))
    window.add(13, vector(1.0))
    with pytest.raises(DivergedError, match=f"the {what} is not finite at step 12: lower"):
        window.settle(13)


def test_a_clock_counts_what_is_not_paused_and_goes_on_from_a_restart():
    clock = Clock(seconds=100.0)
    clock.logged()
    with clock.pause():
        time.sleep(0.05)
    assert clock.lap() < 0.04
    time.sleep(0.05)
    assert 0.05 <= clock.lap() < 1
    clock.logged()
    assert clock.lap() < 0.04 and 100.05 <= clock.seconds < 101
