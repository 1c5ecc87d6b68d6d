"""The readers: a thread, tf.data, and the first until the second is there. All yield one order."""

import logging
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from electra_jax.data import read_ahead as module
from electra_jax.data.read_ahead import read_ahead
from electra_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def read(number):
    """Three batches a read, of a length that differs by read; two names, two types."""
    first = 3 * number + np.arange(3, dtype=np.int32)
    ids = np.broadcast_to(first[:, None, None], (3, 2, 1 + number % 4)).copy()
    return {"input_ids": ids, "weight": (first[:, None] / 2).astype(np.float32)}


def check(batches, count, start=0):
    """The next batches are those from `start` on."""
    for k, batch in zip(range(start, start + count), batches, strict=False):
        assert list(batch) == ["input_ids", "weight"]
        assert batch["input_ids"].dtype == np.int32 and batch["weight"].dtype == np.float32
        assert batch["input_ids"].shape == (2, 1 + k // 3 % 4)
        assert (batch["input_ids"] == k).all() and (batch["weight"] == k / 2).all()


class StandIn:
    """Reads as tf.data does, at once and in the thread that asks."""

    made: ClassVar[list] = []

    def __init__(self, read, prefetch):
        self.read, self.started, self.stopped = read, [], False
        StandIn.made.append(self)

    def start(self, first):
        self.started.append(first)
        self.batches = (
            {n: x[i] for n, x in arrays.items()}
            for arrays in map(self.read, iter(range(first, 10**6)))
            for i in range(len(arrays["weight"]))
        )

    def next(self):
        return next(self.batches)

    def stop(self):
        self.stopped = True


@pytest.fixture
def stand_in(monkeypatch):
    """`auto` without TensorFlow: its import waits for the returned event."""
    arrived = threading.Event()
    StandIn.made = []
    monkeypatch.setattr(module, "_TensorFlowReader", StandIn)
    monkeypatch.setattr(module, "_tensorflow", lambda: arrived.wait(60))
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(module, "IMPORT_AFTER_SECONDS", 0.0)
    yield arrived
    arrived.set()


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


@pytest.mark.parametrize("prefetch", [0, 1, 4, 9])
@pytest.mark.parametrize("before", [3, 4, 5, 17])
def test_tensorflow_takes_over_at_a_batch_boundary(stand_in, before, prefetch):
    with read_ahead(read, backend="auto", prefetch=prefetch) as batches:
        check(batches, before)
        stand_in.set()
        wait_for(lambda: batches._source.__self__._coming.done())
        check(batches, 40, start=before)
        (reader,) = StandIn.made
        assert reader.started[0] == 0  # tried, then for good
        assert 1 <= reader.started[1] <= 2 + before // 3 + prefetch
        assert batches._source.__self__._thread.empty and not reader.stopped
    assert reader.stopped


def test_tensorflow_is_not_imported_for_the_first_batches_nor_for_short_runs(stand_in, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module, "IMPORT_AFTER_SECONDS", 10.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with read_ahead(read, backend="auto") as batches:
        next(batches)
        now[0] += 60  # the step is compiled
        next(batches)
        assert batches._source.__self__._coming is None
        next(batches)
        assert batches._source.__self__._coming is not None
    with read_ahead(read, backend="auto") as batches:
        check(batches, 50)
        now[0] += 9.9
        check(batches, 1, start=50)
        assert batches._source.__self__._coming is None


def test_numpy_goes_on_where_tensorflow_cannot_be_imported(stand_in, monkeypatch, caplog):
    def broken():
        raise ImportError("libtensorflow is of another machine")

    monkeypatch.setattr(module, "_tensorflow", broken)
    with caplog.at_level(logging.WARNING), read_ahead(read, backend="auto") as batches:
        check(batches, 3)
        wait_for(lambda: batches._source.__self__._coming.done())
        check(batches, 40, start=3)
    assert caplog.text.count("libtensorflow is of another machine") == 1 and not StandIn.made


def test_closing_while_tensorflow_is_imported_builds_nothing(stand_in):
    batches = read_ahead(read, backend="auto")
    check(batches, 3)
    batches.close()
    stand_in.set()
    wait_for(lambda: not any(t.name == "tensorflow" for t in threading.enumerate()))
    assert StandIn.made == [] and list(batches) == []


def test_a_number_of_reads_ends_the_iteration():
    assert len(list(read_ahead(read, backend="numpy", count=5))) == 15
    assert list(read_ahead(read, backend="numpy", count=0)) == []


def test_an_unknown_backend_is_refused():
    with pytest.raises(UserError, match=r"data\.backend='torch': choose one of auto, tf, numpy"):
        read_ahead(read, backend="torch")


def test_tensorflow_reads_batches_of_every_shape_and_leaves_accelerators_alone(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    with read_ahead(read, backend="tf") as batches:
        check(batches, 60)
    monkeypatch.setattr(module, "IMPORT_AFTER_SECONDS", 0.0)
    with read_ahead(read, backend="auto") as batches:
        check(batches, 3)
        wait_for(lambda: batches._source.__self__._coming.done())
        check(batches, 60, start=3)
        assert batches._source.__self__._tensorflow is not None
    for kind in ("GPU", "TPU"):
        assert tf.config.get_visible_devices(kind) == []
    assert tf.config.threading.get_inter_op_parallelism_threads() == 1


def test_an_error_of_the_read_passes_through_tensorflow_as_it_is():
    pytest.importorskip("tensorflow")

    def breaks(number):
        if number == 3:
            raise UserError("rows.bin became shorter")
        return read(number)

    with pytest.raises(UserError, match=r"rows\.bin became shorter"):
        for _ in read_ahead(breaks, backend="tf"):
            pass


@pytest.mark.parametrize(
    "ending",
    [
        "raise SystemExit(143)",
        pytest.param("", marks=pytest.mark.slow),
        pytest.param("batches.close(); raise SystemExit(143)", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_ends_during_the_import_ends_cleanly(ending):
    pytest.importorskip("tensorflow")
    script = f"""
import threading, time
import numpy as np
from electra_jax.data import read_ahead
read_ahead.IMPORT_AFTER_SECONDS = 0.0
batches = read_ahead.read_ahead(lambda n: {{"input_ids": np.full((1, 4), n)}}, backend="auto")
for _ in range(3):
    next(batches)
time.sleep(0.2)
print(any(t.name == "tensorflow" for t in threading.enumerate()), flush=True)
{ending}
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    code = 143 if "143" in ending else 0
    assert (done.returncode, done.stdout) == (code, "True\n"), done.stderr
    assert "Traceback" not in done.stderr and "Fatal" not in done.stderr


def test_the_thread_keeps_ahead_of_its_reader():
    asked = []

    def noted(number):
        asked.append(number)
        return read(number)

    with read_ahead(noted, backend="numpy", prefetch=6) as batches:
        list(islice(batches, 1))
        wait_for(lambda: len(asked) >= 3)
    assert asked == list(range(len(asked))) and len(asked) <= 1 + 6  # in order, and no further
