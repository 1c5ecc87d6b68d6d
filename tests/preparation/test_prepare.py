"""Rows folders: what is in them, and that nothing but the settings decides it."""

import hashlib
import json
import os
import time

import numpy as np
import pytest
from made_up_corpus import WORDS, contents, make, write_corpus

from electra_jax.data.row_format import held_out
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError
from electra_jax.preparation import blocks
from electra_jax.text import documents as documents_module
from electra_jax.text.tokenizers.tokenizer import load_tokenizer


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


def test_text_without_words_is_refused(tmp_path, vocabulary):
    (tmp_path / "a.jsonl").write_text('{"text": " \\n "}\n{"text": ""}\n')
    with pytest.raises(UserError, match="only whitespace"):
        make(tmp_path / "a.jsonl", vocabulary, tmp_path / "rows")
    (tmp_path / "a.jsonl").write_text('{"text": " \\n "}\n{"text": "w1"}\n')
    with pytest.raises(UserError, match="too little text: 2 documents leave no row for training"):
        make(tmp_path / "a.jsonl", vocabulary, tmp_path / "rows")


@pytest.fixture
def one_a_line(tmp_path):
    """Sixty documents, one a line, as OSCAR has them."""
    draw = np.random.default_rng(0)
    lines = (" ".join(f"w{i}" for i in draw.integers(0, 500, n)) for n in draw.integers(9, 90, 60))
    (tmp_path / "oscar.txt").write_text("".join(f"{line}\n" for line in lines))
    return tmp_path / "oscar.txt"


def documents_of(manifest):
    return manifest["statistics"]["documents"], manifest["settings"].get("documents")


def test_documents_that_are_lines_are_found_and_recorded(tmp_path, vocabulary, one_a_line, caplog):
    first = make(one_a_line, vocabulary, tmp_path / "rows")
    assert documents_of(first) == (60, "lines")
    assert set(first["splits"]) == {"train", "eval"}
    assert "each line of a .txt file is one document: 60 lines of" in caplog.text
    assert make(one_a_line, vocabulary, tmp_path / "rows") == first
    assert make(one_a_line, vocabulary, tmp_path / "rows", documents="lines") == first
    with pytest.raises(UserError, match=r"\(documents was lines, is now blank_lines\)"):
        make(one_a_line, vocabulary, tmp_path / "rows", documents="blank_lines")


def test_a_folder_made_before_the_setting_existed_is_the_same(
    tmp_path, vocabulary, one_a_line, caplog
):
    old = make(one_a_line, vocabulary, tmp_path / "rows", documents="blank_lines")
    assert documents_of(old) == (1, None) and "field" not in old["settings"]
    before = contents(tmp_path / "rows")
    caplog.clear()
    assert make(one_a_line, vocabulary, tmp_path / "rows") == old
    assert "was begun with --documents=blank_lines" in caplog.text
    assert contents(tmp_path / "rows") == before
    with pytest.raises(UserError, match=r"\(documents was blank_lines, is now lines\)"):
        make(one_a_line, vocabulary, tmp_path / "rows", documents="lines")
    with pytest.raises(UserError, match=r"seed was 0, is now 1"):  # nothing else is taken over
        make(one_a_line, vocabulary, tmp_path / "rows", seed=1)


def test_an_interrupted_run_goes_on_with_the_documents_that_it_began_with(
    tmp_path, vocabulary, one_a_line, small_blocks, monkeypatch
):
    monkeypatch.setattr(documents_module, "DOCUMENT_LIMIT", 400)  # several documents, so blocks
    whole = make(one_a_line, vocabulary, tmp_path / "whole", documents="blank_lines")
    real = blocks.pack_block

    def failing(block, *rest):
        if block.index == 2:
            raise KeyboardInterrupt
        return real(block, *rest)

    monkeypatch.setattr(blocks, "pack_block", failing)
    with pytest.raises(KeyboardInterrupt):
        make(one_a_line, vocabulary, tmp_path / "rows", documents="blank_lines")
    monkeypatch.setattr(blocks, "pack_block", real)
    assert make(one_a_line, vocabulary, tmp_path / "rows") == whole


def test_the_field_is_a_setting(tmp_path, vocabulary):
    (tmp_path / "a.jsonl").write_text('{"text": "w1 w2", "body": "w3"}\n' * 3)
    default = make(tmp_path / "a.jsonl", vocabulary, tmp_path / "rows")
    assert make(tmp_path / "a.jsonl", vocabulary, tmp_path / "rows", field="text") == default
    body = make(tmp_path / "a.jsonl", vocabulary, tmp_path / "body", field="body")
    assert body["settings"]["field"] == "body" and body["statistics"]["tokens"] == 3
    with pytest.raises(UserError, match=r"\(field was text, is now body\)"):
        make(tmp_path / "a.jsonl", vocabulary, tmp_path / "rows", field="body")


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("w1 w2 w3", {}, "the input is one document, so nothing is held out for evaluation"),
        ("w1\nw2\nw3", {"documents": "files"}, "each .txt is one (--documents=lines"),
        ("w1\nw2", {"documents": "blank_lines"}, "blank lines separate those of a .txt"),
        ("w1\n\nw2", {}, ""),
        ("w1 w2 w3", {"eval_fraction": 0.0}, ""),
    ],
)
def test_a_corpus_without_held_out_rows_is_warned_of(
    tmp_path, vocabulary, caplog, text, options, said
):
    (tmp_path / "a.txt").write_text(text)
    make(tmp_path / "a.txt", vocabulary, tmp_path / "rows", **options)
    assert said in caplog.text
    assert bool(said) == ("held out" in caplog.text)


def test_held_out_documents_without_text_are_warned_of(tmp_path, vocabulary, caplog):
    (tmp_path / "a.jsonl").write_text('{"text": "w1 w2"}\n{"text": ""}\n')
    make(tmp_path / "a.jsonl", vocabulary, tmp_path / "rows", eval_fraction=1e-9)
    assert "nothing is held out for evaluation: of 2 document(s)" in caplog.text


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet", "a.jsonl"])
def test_the_same_texts_make_the_same_rows_from_every_format(tmp_path, vocabulary, name):
    texts = [f"w{i} w{i + 1}\nw{i + 2}" for i in range(40)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    expected = make(tmp_path / "t.jsonl", vocabulary, tmp_path / "expected")
    file = tmp_path / name
    if name == "a.parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"n": range(40), "body": texts}), file)
    elif name == "a.csv":
        file.write_text("n,body\n" + "".join(f'{i},"{t}"\n' for i, t in enumerate(texts)))
    elif name == "a.tsv":  # which has no line ends within cells
        file.write_text("n\tbody\n" + "".join(f"1\t{t}\n".replace("\nw", " w") for t in texts))
    else:
        file.write_text("".join(json.dumps({"body": t}) + "\n" for t in texts))
    made = make(file, vocabulary, tmp_path / "rows", field="body")
    assert made["fingerprint"] == expected["fingerprint"]
