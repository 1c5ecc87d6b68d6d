"""The records of a run: rows by steps for the file, figures by time for the screen."""

import io
import json
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.objectives.base import Metric, Objective, total_loss
from electra_jax.training.logbook import Logbook
from electra_jax.training.progress import Progress, figures_of
from electra_jax.training.run import LoopSettings, Run
from electra_jax.training.step import Packing, pack


class Counting(Objective):
    """Two terms; step k has the losses k and 1."""

    metrics = (Metric("first", "First", brief="first"), Metric("second", "Second"))
    coefficients: ClassVar = {"first": 1.0, "second": 3.0}
    init = weights = loss = None

    def summarize(self, sums):
        return {"loss": total_loss(self.coefficients, sums), "first": float(sums["first"][0])}


def sums(step):
    values = {"first": (step, 1), "second": (1, 1), "tokens": (100, 1), "gradient_norm": (2, 1)}
    return {name: tuple(map(jnp.float32, pair)) for name, pair in values.items()}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def book(tmp_path):
    """A logbook whose screen is `book.screen` and has the clock `book.seconds`."""
    run = Run(
        objective=Counting(), optimizer=None, schedule=lambda step: 0.5, batches=None, mesh=None,
        settings=LoopSettings(steps=1000, batch_size=8, log_every=4), workdir=tmp_path,
        tensorboard=False, quiet=True,
    )  # fmt: skip
    book = Logbook(run, 0, {})
    book.screen, book.seconds = io.StringIO(), Clock()
    figures = figures_of(run.objective.metrics)
    book.progress = Progress(
        1000, stream=book.screen, clock=book.seconds, figures=figures, seconds_between_lines=20
    )
    book.open_window(Packing(sums(0)))
    yield book
    book.close()


def train(book, steps, seconds):
    for step in steps:
        if book.row_before(step):
            book.write_row()
        book.add(step, pack(sums(step)))
        book.seconds.now += seconds


def rows(book):
    return [json.loads(line) for line in book.log.path.read_text().splitlines()]


def test_rows_are_written_by_steps_and_one_step_late(book):
    train(book, range(1, 9), seconds=0.0)
    assert [row["step"] for row in rows(book)] == [4]
    book.write_row()
    assert [(row["step"], row["first"]) for row in rows(book)] == [(4, 10), (8, 26)]
    assert (
        rows(book)[0]["loss"] == pytest.approx(10 / 4 + 3) and rows(book)[0]["learning_rate"] == 0.5
    )


@pytest.mark.parametrize("seconds", [1.0, 45.0])
def test_the_first_loss_is_on_the_screen_within_a_minute(book, seconds):
    """However slow the steps are; nothing of it is written."""
    book.run.settings = LoopSettings(steps=1000, batch_size=8, log_every=500)
    train(book, range(1, 61), seconds)
    lines = book.screen.getvalue().splitlines()
    with_loss = [line for line in lines if "loss" in line]
    first = with_loss[0].split()[1].split("/")[0]
    assert (int(first) - 1) * seconds < 60
    assert "first" in with_loss[0] and "tokens/s" in with_loss[0]
    assert not rows(book)


def test_what_is_shown_changes_no_row(book, tmp_path):
    train(book, range(1, 10), seconds=60.0)
    shown = book.screen.getvalue()
    assert "loss 4.000" in shown  # 1 + 3, of step 1 alone
    assert [row["first"] for row in rows(book)] == [10, 26]
    kept = book.metadata(9)
    assert kept["window"][0] == 1 and kept["examples_seen"] == 72 and kept["tokens"] == 800
    unseen = Logbook(book.run, 0, {})  # another of the same run, whose screen is quiet
    unseen.open_window(Packing(sums(0)))
    unseen.seconds = Clock()
    train(unseen, range(1, 10), seconds=0.0)
    np.testing.assert_array_equal(unseen.metadata(9)["window"][1], kept["window"][1])
    unseen.close()


def test_where_it_begins_and_what_the_loss_is_are_printed_once(book, tmp_path):
    book.begin("goes on from step 7")
    assert book.screen.getvalue().splitlines() == [
        f"{tmp_path}: goes on from step 7",
        "loss = First + 3 × Second",
    ]


def test_the_watch_dog_sees_rows_of_training_and_of_held_out_data(book):
    seen = []
    book.run.watch = lambda row, tokens: seen.append((row["step"], tokens)) or f"w{row['step']}"
    train(book, range(1, 6), seconds=0.0)
    book.show(5, {"step": 5, "eval_loss": 1.0})
    assert seen == [(4, 400.0), (5, 400.0)]
    assert [line for line in book.screen.getvalue().splitlines() if line[0] == "w"] == ["w4", "w5"]
