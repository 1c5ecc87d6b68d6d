"""Checkpoints by the clock; of several processes the first one's clock alone counts."""

import jax
import pytest

from electra_jax.training.checkpoint import save_timer
from electra_jax.training.checkpoint.save_timer import SaveTimer


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_checkpoint_is_due_so_long_after_the_last_one_whatever_saved_that():
    clock = Clock()
    timer = SaveTimer(2.0, clock)
    due = []
    for step in range(1, 101):
        clock.now += 7.0
        if step == 30:
            timer.saved()  # for its number of steps
        if timer.due(step):
            timer.saved()
            due.append(step)
    assert due == [18, 48, 66, 84]  # 120 s are 18 steps of 7 s


def test_no_minutes_are_never():
    clock = Clock()
    timer = SaveTimer(0, clock)
    clock.now = 1e9
    assert not timer.due(10)


class Others:
    """Another process of the run: its clock is another, and what the first sends it receives."""

    def __init__(self, monkeypatch, seconds_per_step):
        self.sent = []
        self.seconds = seconds_per_step
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(save_timer.multihost_utils, "broadcast_one_to_all", self.exchange)

    def exchange(self, decision):
        if self.receiving:
            return self.sent[-1]
        self.sent.append(decision)
        return decision

    def run(self, first, second, clocks, steps):
        """Steps at which each of two timers said that a checkpoint is due."""
        found = ([], [])
        for step in range(steps):
            for number, timer in enumerate((first, second)):
                self.receiving = bool(number)
                clocks[number].now += self.seconds * (1 + 5 * number)
                if timer.due(step):
                    timer.saved()
                    found[number].append(step)
        return found


@pytest.mark.parametrize("seconds", [0.01, 1.0, 40.0])
def test_several_processes_save_the_same_steps_and_rarely_talk(monkeypatch, seconds):
    others = Others(monkeypatch, seconds)
    clocks = [Clock(), Clock()]
    steps = round(1200 / seconds)
    first, second = others.run(*(SaveTimer(1.0, c) for c in clocks), clocks, steps)
    assert first == second
    # The first process's clock counts, read every quarter of a minute or every step.
    longest = 60 + max(15, seconds)
    assert 1200 / longest - 1 <= len(first) <= 20
    assert len(others.sent) <= min(steps, 1200 / 15 + 10)
