"""A rows folder on disk: shards, interruptions that are continued, folders that are refused."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from made_up_corpus import contents, make, write_corpus

from electra_jax.data.row_format import Split
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError
from electra_jax.preparation import blocks, rows_writer
from electra_jax.preparation import prepare as module


def test_shards_are_of_bounded_size(tmp_path, vocabulary, small_blocks, monkeypatch):
    source = write_corpus(tmp_path / "a.jsonl")
    make(source, vocabulary, tmp_path / "whole")
    monkeypatch.setattr(rows_writer, "SHARD_BYTES", 32 * 2 * 7)
    manifest = make(source, vocabulary, tmp_path / "many")
    shards = manifest["splits"]["train"]["shards"]
    assert len(shards) > 3
    assert [shard["rows"] for shard in shards[:-1]] == [7] * (len(shards) - 1)
    joined = b"".join((tmp_path / "many" / shard["file"]).read_bytes() for shard in shards)
    assert joined == (tmp_path / "whole" / "train-00000.bin").read_bytes()


class Stop(Exception):
    """Stands for whatever ends a run in the middle."""


@pytest.mark.parametrize("shard_bytes", [2**28, 32 * 2 * 7])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(
    tmp_path, vocabulary, small_blocks, monkeypatch, shard_bytes
):
    monkeypatch.setattr(rows_writer, "SHARD_BYTES", shard_bytes)
    source = write_corpus(tmp_path / "a.jsonl")
    make(source, vocabulary, tmp_path / "whole")
    real, packed = blocks.pack_block, []

    def failing(block, *rest):
        packed.append(block.index)
        if len(packed) % 3 == 0:
            raise Stop
        return real(block, *rest)

    monkeypatch.setattr(blocks, "pack_block", failing)
    for _ in range(10):
        try:
            make(source, vocabulary, tmp_path / "rows")
            break
        except Stop:
            assert not (tmp_path / "rows" / "rows.json").exists()
            with pytest.raises(UserError, match=r"did not finish"):
                Rows.open(tmp_path / "rows")
            # What a crash may leave behind the last safe row:
            with open(tmp_path / "rows" / "train-00000.bin", "ab") as stream:
                stream.write(b"torn")
    assert contents(tmp_path / "rows") == contents(tmp_path / "whole")
    assert packed == [0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7][: len(packed)]  # nothing done twice


def test_a_run_interrupted_under_other_settings_is_begun_anew(
    tmp_path, vocabulary, small_blocks, monkeypatch
):
    source = write_corpus(tmp_path / "a.jsonl")
    make(source, vocabulary, tmp_path / "whole", seed=1)
    real = blocks.pack_block

    def failing(block, *rest):
        if block.index == 5:
            raise Stop
        return real(block, *rest)

    monkeypatch.setattr(blocks, "pack_block", failing)
    with pytest.raises(Stop):
        make(source, vocabulary, tmp_path / "rows", seed=0)
    monkeypatch.setattr(blocks, "pack_block", real)
    make(source, vocabulary, tmp_path / "rows", seed=1)
    assert contents(tmp_path / "rows") == contents(tmp_path / "whole")


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, vocabulary, small_blocks):
    source = write_corpus(tmp_path / "a.jsonl", documents=200)
    make(source, vocabulary, tmp_path / "whole")
    script = """
import sys, time
from electra_jax.text import corpus
from electra_jax.preparation import blocks, prepare
corpus.BLOCK_DOCUMENTS, prepare._CHECKPOINT_BLOCKS = 8, 1
real = blocks.pack_block
def slow(*block):
    time.sleep(0.2)
    return real(*block)
blocks.pack_block = slow
prepare.prepare([sys.argv[1]], sys.argv[2], sys.argv[3], seq_len=32, workers=1,
                eval_fraction=0.2, progress=False)
"""
    arguments = [source, str(vocabulary), str(tmp_path / "rows")]
    journal = tmp_path / "rows" / rows_writer.JOURNAL
    child = subprocess.Popen([sys.executable, "-c", script, *arguments])
    while child.poll() is None and not journal.exists():
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not (tmp_path / "rows" / "rows.json").exists()
    assert json.loads(journal.read_text())["progress"]["next_block"] >= 1
    make(source, vocabulary, tmp_path / "rows")
    assert contents(tmp_path / "rows") == contents(tmp_path / "whole")


def test_a_folder_with_other_things_in_it_is_refused(tmp_path, vocabulary):
    source = write_corpus(tmp_path / "a.jsonl")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"is not a rows folder \(it holds thesis\.tex\)"):
        make(source, vocabulary, tmp_path / "rows")
    with pytest.raises(UserError, match=r"vocab\.txt is a file; choose another --output"):
        make(source, vocabulary, vocabulary)


def test_two_runs_into_one_folder_at_once_are_refused(tmp_path, vocabulary):
    source = write_corpus(tmp_path / "a.jsonl")
    (tmp_path / "rows").mkdir()
    with rows_writer.RowsWriter(tmp_path / "rows", 32, "uint16", {}):
        with pytest.raises(UserError, match=r"another process is writing .*rows"):
            make(source, vocabulary, tmp_path / "rows")
    make(source, vocabulary, tmp_path / "rows")


def test_an_unwritable_folder_is_named(tmp_path, vocabulary):
    source = write_corpus(tmp_path / "a.jsonl")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot write .*file/rows: Not a directory"):
        make(source, vocabulary, tmp_path / "file" / "rows")


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_space(
    tmp_path, vocabulary, small_blocks, monkeypatch
):
    source = write_corpus(tmp_path / "a.jsonl")
    make(source, vocabulary, tmp_path / "whole")
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(module, "_CHECKPOINT_BLOCKS", 1)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*rows: No space left .* free some space"):
        make(source, vocabulary, tmp_path / "rows")
    assert not (tmp_path / "rows" / "rows.json").exists()
    monkeypatch.setattr(os, "fsync", real)
    make(source, vocabulary, tmp_path / "rows")
    assert contents(tmp_path / "rows") == contents(tmp_path / "whole")


def progress(next_block, rows):
    return rows_writer.Progress(next_block, {"train": Split(rows=rows), "eval": Split()})


def append(writer, block, count):
    """Adds `count` rows that hold the block's number."""
    rows = np.full((count, 4), block, np.uint16)
    before = writer.progress.splits["train"].rows
    writer.append(progress(block + 1, before + count), {"train": rows})


def test_rows_appended_after_the_last_checkpoint_are_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_writer, "SHARD_BYTES", 4 * 2 * 3)  # three rows
    settings = {"seq_len": 4}
    with rows_writer.RowsWriter(tmp_path, 4, "uint16", settings) as writer:
        append(writer, 0, 4)
    shards = sorted(path.name for path in tmp_path.glob("train-*.bin"))
    assert shards == ["train-00000.bin", "train-00001.bin"]
    with open(tmp_path / "train-00001.bin", "ab") as stream:
        stream.write(b"torn by a crash")
    with rows_writer.RowsWriter(tmp_path, 4, "uint16", settings) as writer:
        assert (writer.progress.next_block, writer.progress.splits["train"].rows) == (1, 4)
        append(writer, 1, 3)
    found = np.concatenate([np.fromfile(p, "<u2") for p in sorted(tmp_path.glob("train-*.bin"))])
    assert found.reshape(-1, 4)[:, 0].tolist() == [0] * 4 + [1] * 3


@pytest.mark.parametrize("damage", ["other settings", "a lost shard"])
def test_a_journal_that_does_not_fit_begins_anew(tmp_path, damage):
    with rows_writer.RowsWriter(tmp_path, 4, "uint16", {"seed": 0}) as writer:
        append(writer, 0, 4)
    if damage == "a lost shard":
        (tmp_path / "train-00000.bin").unlink()
    settings = {"seed": 1 if damage == "other settings" else 0}
    with rows_writer.RowsWriter(tmp_path, 4, "uint16", settings) as writer:
        assert writer.progress == rows_writer.Progress()
    assert not list(tmp_path.glob("train-*.bin"))
