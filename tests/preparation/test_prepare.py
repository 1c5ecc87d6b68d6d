"""Rows folders: what is in them, that nothing but the settings decides it, and interruptions."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from electra_jax.data.row_format import held_out
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError
from electra_jax.preparation import blocks, rows_writer
from electra_jax.preparation import prepare as module
from electra_jax.preparation.prepare import prepare
from electra_jax.text import corpus
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(500)), "."]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    file = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    file.write_text("\n".join(WORDS) + "\n")
    return file


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(corpus, "BLOCK_DOCUMENTS", 8)


def write_corpus(file, documents=60, seed=0):
    """Documents of random words; document d begins with the word w<d>."""
    draw = np.random.default_rng(seed)
    with open(file, "w", encoding="utf-8") as stream:
        for d in range(documents):
            lines = [
                [f"w{i}" for i in draw.integers(0, 500, 9)] for _ in range(draw.integers(1, 9))
            ]
            lines[0][0] = f"w{d}"
            text = "\n".join(" ".join(line) + " ." for line in lines)
            stream.write(json.dumps({"text": text}) + "\n")
    return str(file)


def make(source, vocabulary, output, **options):
    options = {"seq_len": 32, "workers": 1, "eval_fraction": 0.2, "progress": False, **options}
    return prepare([str(source)], vocabulary, output, **options)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def text_ids(rows):
    """Ids of text (not special) in reading order."""
    ids = rows.reshape(-1)
    return ids[ids >= 5]


def test_the_rows_hold_every_token_of_every_document(tmp_path, vocabulary, small_blocks):
    source = write_corpus(tmp_path / "a.jsonl")
    manifest = make(source, vocabulary, tmp_path / "rows")
    tokenizer = load_tokenizer(vocabulary)
    with open(source, encoding="utf-8") as stream:
        documents = [tokenizer.encode(json.loads(line)["text"]) for line in stream]
    parts = {split: Rows.open(tmp_path / "rows", split) for split in ("train", "eval")}
    rows = {split: part.take(np.arange(part.count)) for split, part in parts.items()}
    chosen = held_out(0, 0.2, 0, len(documents))
    for split, mine in (("train", ~chosen), ("eval", chosen)):
        expected = np.concatenate([documents[d] for d in np.flatnonzero(mine)])
        assert sorted(text_ids(rows[split])) == sorted(expected)
        described = manifest["splits"][split]
        assert described["documents"] == mine.sum()
        assert described["rows"] == len(rows[split])
        assert described["tokens"] == (rows[split] != 0).sum()
        pieces = (rows[split] == 2).sum(1)
        assert described["max_segments"] == pieces.max()
    statistics = manifest["statistics"]
    assert statistics["documents"] == 60
    assert statistics["tokens"] == sum(map(len, documents))
    assert statistics["tokens_dropped"] == statistics["unknown_tokens"] == 0
    assert 0.8 < statistics["fill_rate"] <= 1
    with open(source, encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for line in stream]
    assert statistics["characters"] == sum(len(text) - text.count("\n") for text in texts)


def test_rows_json_describes_the_folder(tmp_path, vocabulary):
    make(write_corpus(tmp_path / "a.jsonl"), vocabulary, tmp_path / "rows")
    manifest = json.loads((tmp_path / "rows" / "rows.json").read_text())
    tokenizer = load_tokenizer(tmp_path / "rows" / "tokenizer")
    assert manifest["format"] == 1
    assert manifest["seq_len"] == 32
    assert manifest["dtype"] == "uint16"
    assert manifest["vocab_size"] == len(WORDS) == tokenizer.vocab_size
    assert manifest["packing"] == "full"
    assert manifest["special_ids"] == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
    assert manifest["tokenizer_hash"] == tokenizer.hash == load_tokenizer(vocabulary).hash
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            data = (tmp_path / "rows" / shard["file"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == shard["sha256"]
            assert len(data) == shard["rows"] * 32 * 2
    names = {path.name for path in (tmp_path / "rows").iterdir()}
    assert names == {"rows.json", "tokenizer", "train-00000.bin", "eval-00000.bin"}


def test_large_vocabularies_get_wide_ids(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, *(f"x{i}" for i in range(70_000))]))
    (tmp_path / "a.txt").write_text("x69999 w1 w2\n\nw3")
    manifest = make(tmp_path / "a.txt", tmp_path / "vocab.txt", tmp_path / "rows")
    assert manifest["dtype"] == "uint32"
    row = Rows.open(tmp_path / "rows", "train").take([0])[0]
    assert row.tolist()[:6] == [2, len(WORDS) + 69_999, 6, 7, 3, 0]


@pytest.mark.parametrize("packing", ["full", "reference"])
def test_any_number_of_workers_writes_the_same_bytes(tmp_path, vocabulary, small_blocks, packing):
    source = write_corpus(tmp_path / "a.jsonl", documents=150)
    for workers in (1, 2):
        make(source, vocabulary, tmp_path / str(workers), workers=workers, packing=packing)
    one, two = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert one == two
    assert len(one["train-00000.bin"]) > 10_000


def test_everything_but_the_workers_decides_the_rows(tmp_path, vocabulary, small_blocks):
    source = write_corpus(tmp_path / "a.jsonl")
    variants = [
        {},
        {"seed": 1},
        {"seq_len": 33},
        {"packing": "reference"},
        {"packing": "reference", "seed": 1},
        {"max_segments": 1},
        {"split_sentences": True},
        {"eval_fraction": 0.0},
    ]
    fingerprints = set()
    for number, options in enumerate(variants):
        manifest = make(source, vocabulary, tmp_path / str(number), **options)
        again = make(source, vocabulary, tmp_path / f"{number}-again", **options)
        assert contents(tmp_path / str(number)) == contents(tmp_path / f"{number}-again")
        assert manifest == again
        fingerprints.add(manifest["fingerprint"])
    assert len(fingerprints) == len(variants)


def test_options_of_packing_arrive(tmp_path, vocabulary, small_blocks):
    source = write_corpus(tmp_path / "a.jsonl")
    single = make(source, vocabulary, tmp_path / "single", max_segments=1)
    assert single["statistics"]["max_segments"] == 1
    make(source, vocabulary, tmp_path / "split", split_sentences=True)
    rows = Rows.open(tmp_path / "split", "train")
    ids = rows.take(np.arange(rows.count))
    assert (ids == 3).sum() > (ids == 2).sum()  # pieces with two segments have two [SEP]
    reference = make(source, vocabulary, tmp_path / "reference", packing="reference")
    assert reference["statistics"]["tokens_dropped"] > 0
    assert reference["packing"] == "reference"


def test_two_documents_give_both_splits_whatever_the_fraction(tmp_path, vocabulary):
    (tmp_path / "two.txt").write_text("w1 w2\n\nw3 w4")
    for seed in range(5):
        manifest = make(
            tmp_path / "two.txt",
            vocabulary,
            tmp_path / str(seed),
            eval_fraction=1e-9,
            seed=seed,
        )
        assert {name: split["rows"] for name, split in manifest["splits"].items()} == {
            "train": 1,
            "eval": 1,
        }


def test_one_document_is_for_training(tmp_path, vocabulary):
    (tmp_path / "one.txt").write_text("w1 w2")
    manifest = make(tmp_path / "one.txt", vocabulary, tmp_path / "rows")
    assert list(manifest["splits"]) == ["train"]


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


def test_a_finished_folder_is_left_alone(tmp_path, vocabulary, monkeypatch):
    source = write_corpus(tmp_path / "a.jsonl")
    first = make(source, vocabulary, tmp_path / "rows")
    before = contents(tmp_path / "rows")
    monkeypatch.setattr(blocks, "pack_block", None)  # would fail if it were used
    assert make(source, vocabulary, tmp_path / "rows", workers=3) == first
    assert contents(tmp_path / "rows") == before


def test_a_finished_folder_made_with_other_settings_is_refused(tmp_path, vocabulary):
    source = write_corpus(tmp_path / "a.jsonl")
    make(source, vocabulary, tmp_path / "rows")
    before = contents(tmp_path / "rows")

    def assert_fails(match, path=source, tokenizer=vocabulary, **options):
        with pytest.raises(UserError, match=match):
            make(path, tokenizer, tmp_path / "rows", **options)

    assert_fails(r"made with other settings \(seq_len was 32, is now 64\)", seq_len=64)
    assert_fails(r"seed was 0, is now 7", seed=7)
    assert_fails(r"name was full, is now reference", packing="reference")
    other = write_corpus(tmp_path / "b.jsonl", documents=9)
    assert_fails(r"inputs was 1 files of \d+ bytes \(.*\), is now 1 files of \d+ bytes", other)
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, "more"]))
    assert_fails(r"tokenizer_hash was", tokenizer=tmp_path / "vocab.txt")
    os.utime(source, (time.time() + 9, time.time() + 9))
    assert_fails("an input has been changed since")
    assert contents(tmp_path / "rows") == before


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


def test_bad_settings_are_refused(tmp_path, vocabulary):
    source = write_corpus(tmp_path / "a.jsonl")

    def assert_fails(match, **options):
        with pytest.raises(UserError, match=match):
            make(source, vocabulary, tmp_path / "rows", **options)
        assert not (tmp_path / "rows").exists()

    assert_fails("seq_len is 7; the shortest possible is 8", seq_len=7)
    assert_fails("unknown packing 'tight'; choose one of full, reference", packing="tight")
    assert_fails(r"eval_fraction is 1; it must be in \[0, 1\)", eval_fraction=1)
    assert_fails("workers is 0", workers=0)
    assert_fails("max_segments is 0", max_segments=0)
    assert_fails("belong to packing=full", packing="reference", split_sentences=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_text_is_named_and_leaves_no_whole_folder(tmp_path, vocabulary, small_blocks, workers):
    source = write_corpus(tmp_path / "a.jsonl")
    with open(source, "ab") as stream:
        stream.write('{"text": "w1 \xff"}\n'.encode("latin-1"))
    with pytest.raises(
        UserError, match=r"a\.jsonl is not UTF-8 text: byte \d+ is 0xff \(line 61\)"
    ):
        make(source, vocabulary, tmp_path / "rows", workers=workers)
    assert not (tmp_path / "rows" / "rows.json").exists()


def test_text_without_words_is_refused(tmp_path, vocabulary):
    (tmp_path / "a.jsonl").write_text('{"text": " \\n "}\n{"text": ""}\n')
    with pytest.raises(UserError, match="only whitespace"):
        make(tmp_path / "a.jsonl", vocabulary, tmp_path / "rows")
    (tmp_path / "a.jsonl").write_text('{"text": " \\n "}\n{"text": "w1"}\n')
    with pytest.raises(UserError, match="too little text: 2 documents leave no row for training"):
        make(tmp_path / "a.jsonl", vocabulary, tmp_path / "rows")


def test_the_environment_of_the_caller_is_restored(tmp_path, vocabulary, monkeypatch):
    source = write_corpus(tmp_path / "a.jsonl")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    make(source, vocabulary, tmp_path / "a")
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    make(source, vocabulary, tmp_path / "b")
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    assert threading.active_count() < 20
