"""The progress line: redrawn on a terminal, now and then in a file, with readable numbers."""

import contextlib
import fcntl
import io
import os
import pty
import struct
import sys
import termios
from types import SimpleNamespace

import pytest

from electra_jax.objectives.base import Metric
from electra_jax.training.progress import (
    Progress,
    figures_of,
    human_count,
    human_duration,
    human_figure,
    summary,
)


@pytest.fixture
def terminal():
    """(a stream that is a terminal of 60 columns, a function that returns what it shows)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    os.set_blocking(master, False)
    with open(slave, "w", encoding="utf-8") as stream:
        yield stream, lambda: _read(master)
    os.close(master)


def _read(terminal: int) -> str:
    parts = []
    with contextlib.suppress(BlockingIOError):
        while True:
            parts.append(os.read(terminal, 2**16))
    return b"".join(parts).decode().replace("\r\n", "\n")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_file_gets_a_plain_line_every_so_often_and_the_last_one(clock):
    stream = io.StringIO()
    progress = Progress(1000, stream=stream, seconds_between_lines=20, clock=clock)
    for step in range(10, 1001, 10):
        progress.update(step)
        clock.now += 1.0
    progress.close()
    lines = stream.getvalue().splitlines()
    # at 0, 20, 40, 60, 80 s and at the end
    assert [line.split()[1] for line in lines] == [
        "10/1,000",
        "210/1,000",
        "410/1,000",
        "610/1,000",
        "810/1,000",
        "1,000/1,000",
    ]
    assert "\r" not in stream.getvalue()


@pytest.mark.parametrize(
    ("shell", "shown"), [(None, "err"), (object(), "err"), (SimpleNamespace(kernel=1), "out")]
)
def test_in_a_notebook_it_goes_to_standard_output(monkeypatch, capsys, shell, shown):
    """Jupyter shows standard error in red. IPython on a terminal has a shell without a kernel."""
    module = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", module)
    progress = Progress(10)
    progress.note("a note")
    progress.update(5)
    progress.close()
    captured = capsys.readouterr()
    assert getattr(captured, shown).splitlines() == ["a note", "step 5/10 (50%)"]
    assert captured.out + captured.err == getattr(captured, shown)


def test_the_line_has_the_figures_and_the_time_left(clock):
    stream = io.StringIO()
    progress = Progress(
        12_000,
        start=2000,
        stream=stream,
        seconds_between_lines=5,
        clock=clock,
        figures=figures_of([Metric("rtd_skill", "Skill", brief="skill"), Metric("auc", "AUC")]),
    )
    progress.update(2000)
    clock.now = 10.0
    row = {
        "step": 2100,
        "auc": 0.5,
        "loss": 9.3079,
        "rtd_skill": 0.1234,
        "eval_rtd_skill": 0.2,
        "tokens_per_second": 8412.3,
    }
    progress.update(2100, row)
    # 9,900 steps at 10 a second
    assert stream.getvalue().splitlines()[-1] == (
        "step 2,100/12,000 (17%)  loss 9.308  skill 0.123  held-out skill 0.200  8.41k tokens/s  "
        "ETA 16m 30s"
    )


def test_time_left_leaves_out_the_start_and_what_is_paused(clock):
    """An hour of compiling before the first step, and another of a new shape between steps."""
    stream = io.StringIO()
    progress = Progress(1000, stream=stream, seconds_between_lines=0, clock=clock)
    clock.now = 3600.0
    for step in range(1, 11):
        progress.update(step)
        clock.now += 1.0
    with progress.pause():
        clock.now += 3600.0
    progress.update(11)
    assert stream.getvalue().splitlines()[-1].endswith("ETA 16m 29s")
    with progress.pause(False):  # an evaluation that compiles nothing belongs to the run
        clock.now += 10.0
    progress.update(12)
    assert stream.getvalue().splitlines()[-1].endswith("ETA 29m 56s")


def test_figures_are_wanted_by_time_and_not_by_steps(clock):
    progress = Progress(10, stream=io.StringIO(), seconds_between_lines=20, clock=clock)
    assert progress.wants_figures()  # the first loss, as soon as there is one
    progress.update(1, {})
    assert progress.wants_figures()
    progress.update(2, {"loss": 1.0})
    clock.now += 19
    assert not progress.wants_figures()
    clock.now += 1
    assert progress.wants_figures()
    assert not Progress(10, quiet=True, stream=io.StringIO(), clock=clock).wants_figures()


def test_time_left_counts_the_steps_of_this_process_and_recent_ones(clock):
    """A resumed run's earlier steps are not in the speed, nor what is long ago."""
    stream = io.StringIO()
    progress = Progress(1100, start=900, stream=stream, seconds_between_lines=0, clock=clock)
    clock.now = 500.0
    for step in range(901, 1001):
        progress.update(step)
        clock.now += 1.0
    assert stream.getvalue().splitlines()[-1].endswith("ETA 1m 40s")


def test_a_terminal_gets_one_line_rewritten_in_place(clock, terminal):
    stream, shown = terminal
    progress = Progress(100, stream=stream, clock=clock)
    for step in range(1, 31):
        progress.update(step, {"loss": 1.0, "rtd_skill": 0.5, "tokens_per_second": 123_456_789})
        clock.now += 0.125
    text = shown()
    drawn = [part for part in text.split("\r") if part.strip()]
    assert len(drawn) == 15  # every 0.25 s, as 0.2 have passed then
    assert all(len(line) < 60 for line in drawn) and "step 29/100 (29%)  loss 1.0" in drawn[-1]
    assert "\n" not in text
    progress.note("saved checkpoint 30")
    progress.close()
    note, last, after = shown().split("\n")
    assert note.split("\r")[-1] == "saved checkpoint 30"
    assert "step 30/100 (30%)" in last.split("\r")[-1] and after == ""


def test_nothing_is_printed_for_a_run_without_steps():
    stream = io.StringIO()
    Progress(10, stream=stream).close()
    assert stream.getvalue() == ""


def test_a_quiet_run_prints_nothing(clock):
    stream = io.StringIO()
    progress = Progress(10, quiet=True, stream=stream, clock=clock)
    progress.update(1, {"loss": 1.0})
    progress.note("saved")
    progress.close()
    assert stream.getvalue() == ""


def test_a_figure_that_is_missing_or_null_is_not_shown():
    row = {"eval_loss": 2.0, "eval_rtd_skill": None}
    assert summary(row, prefix="eval_") == ["loss 2.000"]
    assert summary(row) == []
    assert summary({"accuracy": 0.91}, [("accuracy", "accuracy")]) == ["accuracy 0.910"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7.25, "7.25"),
        (42.13, "42.1"),
        (640, "640"),
        (999.9, "1.00k"),
        (8412, "8.41k"),
        (25_600, "25.6k"),
        (999_999, "1.00M"),
        (1.25e9, "1.25G"),
        (float("inf"), "inf"),
    ],
)
def test_counts(value, text):
    assert human_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9.3079, "9.308"),
        (0.1234, "0.123"),
        (-0.02, "-0.020"),
        (5e-4, "5.00e-04"),
        (123.456, "123.5"),
        (float("nan"), "nan"),
    ],
)
def test_figures(value, text):
    assert human_figure(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0s"),
        (45, "45s"),
        (59.7, "1m 00s"),
        (750, "12m 30s"),
        (11_100, "3h 05m"),
        (187_200, "2d 04h"),
    ],
)
def test_durations(seconds, text):
    assert human_duration(seconds) == text
