"""The committed tables: equal to what the oracles give, small, without gaps unawares."""

import json

import pytest
from recorded import make
from recorded.tables import FOLDER, Committed, read_table, unpack, write_table


def test_every_table_is_made_by_the_script():
    names = {f"{table.__name__}.tar.xz" for table in make.TABLES}
    assert {path.name for path in FOLDER.glob("*.tar.xz")} == names
    assert sum((FOLDER / name).stat().st_size for name in names) < 2.2e6


def test_the_tables_hold_what_the_script_takes_from_the_oracles(all_oracles):
    for table in make.TABLES:
        found = read_table(FOLDER / f"{table.__name__}.tar.xz")
        expected = table(all_oracles)
        assert list(found) == list(expected)
        assert [name for name in found if found[name] != expected[name]] == []


def test_a_table_comes_back_as_it_was_written(tmp_path):
    files = {"a/b.json": b"[1]", "a/c.npz/x/y.npy": b"numbers", "a/empty": b""}
    write_table(tmp_path / "one", files)
    write_table(tmp_path / "two", files)
    assert read_table(tmp_path / "one") == files
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_the_tables_leave_out_is_skipped_and_what_they_hold_is_not(tmp_path):
    folder = unpack(tmp_path)
    assert isinstance(folder / "pretrain", Committed)
    assert (folder / "pretrain/default" / "config.json").is_file()
    with pytest.raises(pytest.skip.Exception, match="electric"):
        _ = folder / "pretrain" / "electric"


def test_no_sentence_of_a_book_is_committed(tmp_path):
    """Kinds of strings, and letters of made-up words, are all that the texts may have."""
    folder = unpack(tmp_path)
    strings = json.loads((folder / "tokenization/tokenization.json").read_text())["strings"]
    assert {string["kind"] for string in strings} == {"edge", "fuzz"}
    corpus = (folder / "example_building/corpus.txt").read_text("utf-8")
    assert set(corpus) == set("a \n\u0301")
    lines = json.loads((folder / "example_building/concrete_examples.json").read_text())
    assert {line["text"] for stream in lines["streams"] for line in stream["lines"]} <= {"x", ""}
