"""Batches: a function of the position, however they are read and shared among processes."""

import gc
import importlib.util
import os
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from rows_folder import SPECIAL_IDS, numbered_rows, numbers_of, write_rows

from electra_jax.data import batches as batches_module
from electra_jax.data.batches import eval_batches, train_batches
from electra_jax.data.order import rows_of
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = [
    "numpy",
    pytest.param(
        "tf",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
        ),
    ),
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """1003 rows (of which every batch says which it holds) and 21 for evaluation."""
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder, numbered_rows(1003), numbered_rows(21), rows_in_shard=100)
    return Rows.open(folder)


def numbers(batch: dict) -> list[int]:
    return numbers_of(batch["input_ids"]).tolist()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_size", [1, 12, 300, 1003])
def test_batch_k_holds_the_examples_of_its_position(rows, backend, batch_size):
    expected = rows_of(np.arange(17, 17 + 5 * batch_size), rows.count, seed=3).reshape(
        5, batch_size
    )
    with train_batches(
        rows, seed=3, batch_size=batch_size, start_example=17, backend=backend
    ) as batches:
        for ids in expected:
            batch = next(batches)
            assert list(batch) == ["input_ids"]
            assert batch["input_ids"].dtype == np.int32
            assert np.array_equal(batch["input_ids"], rows.take(ids))
            assert numbers(batch) == ids.tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_stopping_anywhere_and_starting_there_changes_nothing(rows, backend):
    def run(start: int, count: int) -> list[list[int]]:
        with train_batches(
            rows, seed=1, batch_size=40, start_example=start, backend=backend
        ) as batches:
            return [numbers(batch) for batch in islice(batches, count)]

    whole = run(0, 60)  # crosses two epochs
    for taken in (1, 6, 7, 25, 59):
        assert run(taken * 40, 60 - taken) == whole[taken:]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "shares",
    [np.arange(40).reshape(2, 20), np.arange(40).reshape(4, 10), np.arange(40).reshape(10, 4).T],
    ids=["halves", "quarters", "scattered"],
)
def test_processes_share_each_batch(rows, backend, shares):
    def run(batch_indices: np.ndarray | None) -> list[list[int]]:
        with train_batches(
            rows,
            seed=1,
            batch_size=40,
            start_example=80,
            batch_indices=batch_indices,
            backend=backend,
        ) as batches:
            return [numbers(batch) for batch in islice(batches, 30)]

    parts = [run(places) for places in shares]
    for number, whole in enumerate(run(None)):
        for places, part in zip(shares, parts):
            assert part[number] == [whole[place] for place in places]


@pytest.mark.parametrize("prefetch", [0, 1, 9])
@pytest.mark.parametrize("backend", BACKENDS)
def test_how_far_is_read_ahead_changes_nothing(rows, backend, prefetch):
    with train_batches(rows, seed=1, batch_size=200, prefetch=prefetch, backend=backend) as batches:
        got = [numbers(batch) for batch in islice(batches, 6)]
    assert got == rows_of(np.arange(1200), rows.count, 1).reshape(6, 200).tolist()


def test_batches_are_read_ahead(rows, monkeypatch):
    read: list[int] = []
    monkeypatch.setattr(batches_module, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(
        rows, "take", lambda ids: read.append(len(ids)) or Rows.take(rows, ids), raising=False
    )
    with train_batches(rows, seed=0, batch_size=10, prefetch=3, backend="numpy") as batches:
        next(batches)
        deadline = time.monotonic() + 20
        while len(read) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert 3 <= len(read) <= 5


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_stays_as_it_is_when_later_ones_are_read(rows, backend):
    with train_batches(rows, seed=0, batch_size=10, backend=backend) as batches:
        first = next(batches)["input_ids"]
        kept = first.copy()
        for _ in range(100):
            next(batches)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_of_the_reader_reaches_the_user_as_it_is(tmp_path, backend):
    folder = write_rows(tmp_path / "rows", numbered_rows(400), rows_in_shard=400)
    batches = train_batches(Rows.open(folder), seed=0, batch_size=100, backend=backend)
    next(batches)
    os.truncate(folder / "train-00000.bin", 16)
    with pytest.raises(UserError, match=r"train-00000\.bin became shorter"):
        for _ in range(100):
            next(batches)
    with pytest.raises(StopIteration):
        next(batches)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_iterator_is_at_its_end(rows, backend):
    batches = train_batches(rows, seed=0, batch_size=10, backend=backend)
    next(batches)
    batches.close()
    batches.close()
    assert list(batches) == []


@pytest.mark.parametrize("ending", ["close", "drop"])
def test_an_iterator_that_is_no_longer_used_leaves_no_thread_behind(rows, ending):
    def threads() -> int:
        return sum(thread.name.startswith("batches") for thread in threading.enumerate())

    before = threads()
    batches = train_batches(rows, seed=0, batch_size=10, backend="numpy")
    next(batches)
    assert threads() == before + 1
    if ending == "close":
        batches.close()
    else:
        del batches
        gc.collect()
    deadline = time.monotonic() + 20
    while threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == before


@pytest.mark.parametrize(
    ("backend", "ending"),
    [
        ("numpy", ""),
        ("numpy", "batches.close()"),
        ("numpy", "del batches"),
        ("tf", ""),
        pytest.param("tf", "raise SystemExit(0)", marks=pytest.mark.slow),
        pytest.param("tf", "batches.close()", marks=pytest.mark.slow),
        pytest.param("tf", "del batches", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_stops_in_the_middle_ends_at_once(rows, backend, ending):
    script = f"""
import sys
from electra_jax.data.batches import train_batches
from electra_jax.data.rows import Rows
batches = train_batches(Rows.open({str(rows.folder)!r}), seed=0, batch_size=8, backend={backend!r})
for _ in range(5):
    next(batches)
print("read", flush=True)
{ending}
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "read\n"), done.stderr
    assert "Traceback" not in done.stderr


def test_the_numpy_backend_needs_no_tensorflow(rows):
    script = f"""
import sys
sys.modules["tensorflow"] = None
from electra_jax.data.batches import eval_batches, train_batches
from electra_jax.data.rows import Rows
rows = Rows.open({str(rows.folder)!r})
for backend in ("numpy", "auto"):
    with train_batches(rows, seed=0, batch_size=8, backend=backend) as batches:
        next(batches)
print(sum(1 for _ in eval_batches(rows, 100)))
try:
    train_batches(rows, seed=0, batch_size=8, backend="tf")
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("11\nUserError the data backend tf needs TensorFlow")


def test_fewer_rows_than_one_batch_are_refused(rows):
    with pytest.raises(UserError, match=r"has 1003 rows .* fewer than one batch of 1004"):
        train_batches(rows, seed=0, batch_size=1004)


def test_an_empty_batch_is_refused(rows):
    with pytest.raises(UserError, match="must be at least 1"):
        train_batches(rows, seed=0, batch_size=0)


def test_an_unknown_backend_is_refused(rows):
    with pytest.raises(UserError, match=r"data\.backend='torch'"):
        train_batches(rows, seed=0, batch_size=8, backend="torch")


@pytest.mark.parametrize(
    ("max_rows", "held"), [(None, 21), (100, 21), (21, 21), (16, 16), (9, 9), (0, 0)]
)
def test_evaluation_sees_each_row_once_in_file_order(rows, max_rows, held):
    evaluation = Rows.open(rows.folder, "eval")
    got = np.concatenate(
        [batch["input_ids"] for batch in eval_batches(evaluation, 8, max_rows)]
        or [np.empty((0, 8), np.int32)]
    )
    assert len(got) == -(-held // 8) * 8
    assert np.array_equal(got[:held], evaluation.take(np.arange(held)))
    assert (got[held:] == SPECIAL_IDS["pad"]).all()


def test_evaluation_pads_with_the_pad_id_of_the_tokenizer(tmp_path):
    special = {**SPECIAL_IDS, "pad": 7, "unk": 0}
    folder = write_rows(tmp_path / "rows", numbered_rows(3), special_ids=special)
    (batch,) = eval_batches(Rows.open(folder), 4)
    assert batch["input_ids"][3].tolist() == [7] * 8


@pytest.mark.parametrize("max_rows", [None, 3, 11])
def test_processes_share_evaluation(rows, max_rows):
    evaluation = Rows.open(rows.folder, "eval")
    whole = [batch["input_ids"] for batch in eval_batches(evaluation, 8, max_rows)]
    for places in (np.arange(4, 6), np.array([0, 1, 6, 7])):
        share = [b["input_ids"] for b in eval_batches(evaluation, 8, max_rows, places)]
        assert np.array_equal(share, [batch[places] for batch in whole])
