"""Reading a rows folder: the rows that were written, or one message that names what is wrong."""

import json
import os
import re
import threading

import numpy as np
import pytest
from rows_folder import SPECIAL_IDS, numbered_rows, write_rows

from electra_jax.data.rows import Rows
from electra_jax.errors import UserError


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_rows_come_back_as_they_were_written_in_any_order(tmp_path, dtype):
    written = numbered_rows(40)
    rows = Rows.open(write_rows(tmp_path / "rows", written, dtype=dtype))
    for ids in ([0], [39, 0, 6, 7, 7, 13, 14], np.arange(40), np.arange(40)[::-1], []):
        taken = rows.take(ids)
        assert taken.dtype == np.int32 and taken.shape == (len(ids), 8)
        assert np.array_equal(taken, written[np.asarray(ids, dtype=int)])


def test_ids_beyond_sixteen_bits_survive(tmp_path):
    written = np.full((3, 8), 250_001)
    rows = Rows.open(write_rows(tmp_path / "r", written, dtype="uint32", vocab_size=250_002))
    assert np.array_equal(rows.take([0, 1, 2]), written)


def test_an_open_split_says_what_it_holds(tmp_path):
    folder = write_rows(tmp_path / "rows", numbered_rows(40), numbered_rows(3), fingerprint="f")
    train, evaluation = Rows.open(folder), Rows.open(str(folder), split="eval")
    assert (train.count, len(evaluation), train.seq_len) == (40, 3, 8)
    assert (train.vocab_size, train.special_ids) == (1000, SPECIAL_IDS)
    assert (train.packing, train.fingerprint, train.max_segments) == ("full", "f", 1)
    assert (train.tokens, train.tokenizer_hash) == (320, "a-tokenizer")
    assert train.tokenizer_folder == folder / "tokenizer"


def test_a_row_that_does_not_exist_is_refused(tmp_path):
    rows = Rows.open(write_rows(tmp_path / "rows", numbered_rows(5)))
    for ids in ([5], [-1]):
        with pytest.raises(IndexError, match="0 to 4"):
            rows.take(ids)


def test_several_threads_may_read_at_once(tmp_path):
    written = numbered_rows(500)
    rows = Rows.open(write_rows(tmp_path / "rows", written))
    wrong = []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(50):
            ids = rng.integers(0, 500, 20)
            if not np.array_equal(rows.take(ids), written[ids]):
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_closing_or_dropping_frees_the_files(tmp_path):
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not list open files")
    folder = write_rows(tmp_path / "rows", numbered_rows(40))
    before = open_files()
    rows = Rows.open(folder)
    assert open_files() == before + 6
    rows.close()
    assert open_files() == before
    del rows
    dropped = Rows.open(folder)
    del dropped
    assert open_files() == before


@pytest.mark.parametrize("damage", [os.unlink, lambda file: os.truncate(file, 1)])
def test_a_refused_folder_leaves_no_file_open(tmp_path, damage):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not list open files")
    folder = write_rows(tmp_path / "rows", numbered_rows(40))
    damage(folder / "train-00005.bin")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(UserError):
        Rows.open(folder)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_read_that_the_system_gives_in_pieces_is_put_together(tmp_path, monkeypatch):
    written = numbered_rows(40)
    rows = Rows.open(write_rows(tmp_path / "rows", written))
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, into, at: whole(file, [into[0][:5]], at))
    assert np.array_equal(rows.take([3, 4, 5, 30]), written[[3, 4, 5, 30]])


def test_a_read_that_the_system_refuses_is_named(tmp_path, monkeypatch):
    rows = Rows.open(write_rows(tmp_path / "rows", numbered_rows(40)))

    def refuse(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", refuse)
    with pytest.raises(UserError, match=r"train-00002\.bin cannot be read: Input/output error"):
        rows.take([15])


def test_verify_accepts_what_was_written_and_names_what_changed(tmp_path):
    folder = write_rows(tmp_path / "rows", numbered_rows(40))
    rows = Rows.open(folder)
    rows.verify()
    rows.verify()
    shard = folder / "train-00002.bin"
    data = bytearray(shard.read_bytes())
    data[3] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match=r"train-00002\.bin is not the file that was prepared"):
        Rows.open(folder).verify()


def test_a_file_that_shrinks_while_it_is_used_is_named(tmp_path):
    folder = write_rows(tmp_path / "rows", numbered_rows(40))
    rows = Rows.open(folder)
    os.truncate(folder / "train-00001.bin", 40)
    assert rows.take([0, 7, 14]).shape == (3, 8)  # what is still there can be read
    with pytest.raises(UserError, match=r"train-00001\.bin became shorter while it was in use"):
        rows.take([0, 13])
    with pytest.raises(UserError, match=r"train-00001\.bin became shorter"):
        rows.take([9])  # the row that now ends in its middle


def test_ids_beyond_the_vocabulary_are_named(tmp_path):
    written = numbered_rows(40)
    written[23, 4] = 1000
    rows = Rows.open(write_rows(tmp_path / "rows", written))
    rows.take(np.arange(23))
    with pytest.raises(UserError, match=r"train-00003\.bin holds the token id 1000.*ends at 999"):
        rows.take([1, 23])


def test_a_missing_folder_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(UserError, match=r"no rows folder .*nothing.*electra-jax prepare"):
        Rows.open(tmp_path / "nothing")


def test_a_remote_folder_is_told_to_be_copied():
    with pytest.raises(UserError, match="local disk"):
        Rows.open("gs://bucket/rows")


def test_an_unfinished_folder_is_never_mistaken_for_a_whole_one(tmp_path):
    folder = write_rows(tmp_path / "rows", numbered_rows(40))
    (folder / "rows.json").unlink()
    with pytest.raises(UserError, match="did not finish"):
        Rows.open(folder)


@pytest.mark.parametrize("text", ["{", "", "\xff"])
def test_a_torn_description_is_named(tmp_path, text):
    folder = write_rows(tmp_path / "rows", numbered_rows(40))
    (folder / "rows.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"rows\.json is not valid JSON"):
        Rows.open(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2 and this version reads format 1"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"seq_len": 0}, "seq_len is 0"),
        ({"seq_len": "8"}, "seq_len is '8'"),
        ({"vocab_size": None}, "vocab_size is None"),
        ({"fingerprint": 5}, "fingerprint is 5"),
        ({"special_ids": {**SPECIAL_IDS, "mask": 1000}}, "special_ids.mask is 1000"),
        ({"special_ids": {"pad": 0}}, "special_ids.unk is None"),
        ({"special_ids": None}, "special_ids is missing"),
        ({"splits": None}, "splits is missing"),
        ({"splits": {"train": []}}, "the entry is not an object"),
        ({"splits": {"test": {}}}, "no split 'train' (it has: test)"),
    ],
)
def test_a_wrong_field_of_the_description_is_named(tmp_path, change, message):
    folder = write_rows(tmp_path / "rows", numbered_rows(40), **change)
    with pytest.raises(UserError, match=re.escape(message)):
        Rows.open(folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rows", -1, "rows is -1"),
        ("rows", 41, "says 41 rows and its shards hold 40"),
        ("max_segments", None, "max_segments is None"),
        ("shards", None, "shards is missing"),
        ("shards", ["a"], "a shard has no number of rows"),
        ("shards", [{"rows": 40}], "no file name"),
    ],
)
def test_a_wrong_field_of_a_split_is_named(tmp_path, field, value, message):
    folder = write_rows(tmp_path / "rows", numbered_rows(40))
    header = json.loads((folder / "rows.json").read_text())
    header["splits"]["train"][field] = value
    (folder / "rows.json").write_text(json.dumps(header))
    with pytest.raises(UserError, match=message):
        Rows.open(folder)


def test_a_missing_shard_is_named(tmp_path):
    folder = write_rows(tmp_path / "rows", numbered_rows(40))
    (folder / "train-00004.bin").unlink()
    with pytest.raises(UserError, match=r"train-00004\.bin is missing"):
        Rows.open(folder)


@pytest.mark.parametrize("size", [0, 111, 113, 224])
def test_a_shard_of_the_wrong_size_is_named(tmp_path, size):
    folder = write_rows(tmp_path / "rows", numbered_rows(40))
    os.truncate(folder / "train-00000.bin", size)
    with pytest.raises(UserError, match=rf"train-00000\.bin has {size} bytes .* expects 112"):
        Rows.open(folder)
