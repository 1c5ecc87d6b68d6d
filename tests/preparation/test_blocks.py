"""Blocks of documents become rows that depend on nothing but the block and the settings."""

import os
import threading

import numpy as np
import pytest
from made_up_corpus import contents, make, write_corpus

from electra_jax.errors import UserError
from electra_jax.preparation.blocks import Packing, pack_block, packed_blocks
from electra_jax.text.corpus import open_corpus
from electra_jax.text.tokenizers.tokenizer import load_tokenizer


@pytest.mark.parametrize("packing", ["full", "reference"])
def test_any_number_of_workers_writes_the_same_bytes(tmp_path, vocabulary, small_blocks, packing):
    source = write_corpus(tmp_path / "a.jsonl", documents=150)
    for workers in (1, 2):
        make(source, vocabulary, tmp_path / str(workers), workers=workers, packing=packing)
    one, two = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert one == two
    assert len(one["train-00000.bin"]) > 10_000


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


def test_the_environment_of_the_caller_is_restored(tmp_path, vocabulary, monkeypatch):
    source = write_corpus(tmp_path / "a.jsonl")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    make(source, vocabulary, tmp_path / "a")
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    make(source, vocabulary, tmp_path / "b")
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    assert threading.active_count() < 20


@pytest.fixture
def blocks_of(tmp_path, small_blocks):
    """The blocks of a corpus of 24 documents, three in all."""
    return list(open_corpus([write_corpus(tmp_path / "a.jsonl", documents=24)]).blocks())


def rule(**changes):
    fields = {"name": "full", "seq_len": 32, "seed": 0, "eval_fraction": 0.3}
    return Packing(**{**fields, "max_segments": None, "split_sentences": False, **changes})


@pytest.mark.parametrize("name", ["full", "reference"])
def test_a_block_is_packed_alike_whatever_was_packed_before(blocks_of, vocabulary, name):
    tokenizer = load_tokenizer(vocabulary)
    together = [pack_block(block, tokenizer, rule(name=name)) for block in blocks_of]
    alone = pack_block(blocks_of[2], load_tokenizer(vocabulary), rule(name=name))
    for split in ("train", "eval"):
        assert np.array_equal(alone.packed[split].rows, together[2].packed[split].rows)
    assert alone.counts == together[2].counts


def test_a_block_counts_its_text(blocks_of, vocabulary):
    tokenizer = load_tokenizer(vocabulary)
    block = blocks_of[1]
    packed = pack_block(block, tokenizer, rule())
    lines = [line for document in block.documents for line in document.lines()]
    assert packed.counts == {
        "documents": 8,
        "characters": sum(map(len, lines)),
        "tokens": sum(len(ids) for ids in tokenizer.encode_batch(lines)),
        "tokens_dropped": 0,
        "unknown_tokens": 0,
    }
    assert sum(packed.documents.values()) == 8
    assert packed.position == block.position
    assert {p.rows.dtype for p in packed.packed.values()} == {np.dtype("uint16")}


def test_unknown_words_and_what_the_reference_drops_are_counted(blocks_of, tmp_path):
    words = [f"w{i}" for i in range(0, 500, 2)]
    file = tmp_path / "half.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    packed = pack_block(blocks_of[0], load_tokenizer(file), rule(name="reference"))
    counts = packed.counts
    assert 0.4 < counts["unknown_tokens"] / counts["tokens"] < 0.7
    kept = sum(part.tokens for part in packed.packed.values())
    assert counts["tokens_dropped"] == counts["tokens"] - kept > 0


def test_a_worker_that_dies_is_one_clear_error(blocks_of, vocabulary, tmp_path, capfd):
    with pytest.raises(UserError, match=r"a worker process died, .* fewer --workers"):
        # Its first act is to load the tokenizer from this folder, which is not there.
        list(
            packed_blocks(
                iter(blocks_of), load_tokenizer(vocabulary), tmp_path / "none", rule(), workers=2
            )
        )
    assert "no tokenizer at" in capfd.readouterr().err
