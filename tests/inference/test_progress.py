"""The bar of predict and evaluate: examples, on a clock that stands still while XLA compiles."""

import io
from contextlib import closing

import pytest

from electra_jax.inference import progress as module
from electra_jax.inference.progress import AnswerProgress


class Clock:
    """The time, as tests set it."""

    def __init__(self):
        self.now = 1000.0

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    monkeypatch.setattr("tqdm.std.time", found.time)
    return found


def bar(total, stream):
    return AnswerProgress("predict", total, quiet=False, file=stream, mininterval=0, ncols=100)


def test_the_estimate_leaves_out_the_time_to_compile(clock):
    stream = io.StringIO()
    with closing(bar(400, stream)) as progress:
        progress.block(400, 400)
        with progress.batch(4, compiles=True):
            clock.now += 34
        assert "predict: compiling" in stream.getvalue()
        for _ in range(9):
            with progress.batch(4, compiles=False):
                clock.now += 1
        last = stream.getvalue().split("\r")[-1]
        assert "40/400 [00:09<01:21" in last and "compiling" not in last
        with progress.batch(4, compiles=True):  # another length
            clock.now += 50
        with progress.batch(4, compiles=False):
            clock.now += 1
        last = stream.getvalue().split("\r")[-1]
        assert "48/400 [00:10<01:13" in last


def test_examples_are_counted_and_not_their_windows(clock):
    stream = io.StringIO()
    with closing(bar(10, stream)) as progress:
        progress.block(4, 12)  # three windows each
        with progress.batch(7, compiles=False):
            clock.now += 1
        assert " 2/10 " in stream.getvalue()
        with progress.batch(5, compiles=False):
            clock.now += 1
        progress.block(2, 0)  # lines that could not be read
        progress.block(4, 4)
        with progress.batch(4, compiles=False):
            clock.now += 1
    assert " 10/10 " in stream.getvalue()


def test_a_quiet_one_prints_nothing(capsys):
    with closing(AnswerProgress("predict", 4, quiet=True)) as progress:
        progress.block(4, 4)
        with progress.batch(4, compiles=True):
            pass
    assert capsys.readouterr().err == ""
