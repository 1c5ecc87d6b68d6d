"""Corpora: which documents are read, in which order, and what is said about bad input."""

import gzip
import json

import pytest

from electra_jax.errors import UserError
from electra_jax.text import corpus
from electra_jax.text import documents as documents_module
from electra_jax.text.corpus import open_corpus


def write_jsonl(path, *texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")


def documents(*inputs):
    return list(open_corpus([str(i) for i in inputs]).documents())


def assert_fails(match, *inputs):
    with pytest.raises(UserError, match=match):
        documents(*inputs)


def test_blank_lines_separate_documents_of_a_text_file(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("\ufeff\n\none\n two \n\n \t\n\u3000\nthree\n", "utf-8")
    assert documents(file) == [["one", "two"], ["three"]]


def test_line_ends_of_other_systems_are_line_ends(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\r\n\r\nthree\r\n")
    assert documents(tmp_path / "a.txt") == [["one", "two"], ["three"]]


def test_a_jsonl_line_is_a_document(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", "one\n\ntwo", "", "three")
    assert documents(tmp_path / "a.jsonl") == [["one", "two"], [], ["three"]]


def test_gz_files_read_as_the_files_in_them(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\n\ntwo"))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "three"}\n'))
    assert documents(tmp_path / "*.gz") == [["one"], ["two"], ["three"]]


def test_order_is_that_of_the_sorted_paths_whatever_was_typed(tmp_path):
    for name in "cab":
        (tmp_path / f"{name}.txt").write_text(name)
    typed = [tmp_path / "c.txt", tmp_path / "*.txt", tmp_path / "a.txt"]
    assert documents(*typed) == [["a"], ["b"], ["c"]]


def test_globs_reach_into_folders(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "y" / "a.txt").write_text("deep")
    assert documents(tmp_path / "**" / "*.txt") == [["deep"]]


def test_lone_surrogates_become_replacement_characters(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b \\ud83d\\ude00"}\n')
    assert documents(tmp_path / "a.jsonl") == [["a\ufffdb 😀"]]


def test_blocks_number_the_documents_and_can_be_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "BLOCK_DOCUMENTS", 3)
    write_jsonl(tmp_path / "a.jsonl", *"abcde")
    write_jsonl(tmp_path / "b.jsonl", *"fgh")
    whole = open_corpus([str(tmp_path / "*.jsonl")])
    blocks = list(whole.blocks())
    assert [(b.index, b.first_document, len(b.documents)) for b in blocks] == [
        (0, 0, 3),
        (1, 3, 3),
        (2, 6, 2),
    ]
    assert [d.lines() for d in blocks[1].documents] == [["d"], ["e"], ["f"]]
    assert list(whole.blocks(skip=1)) == blocks[1:]
    assert blocks[-1].position == whole.total_bytes


def test_blocks_are_bounded_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 100)
    write_jsonl(tmp_path / "a.jsonl", *("x" * 60 for _ in range(6)))
    assert [len(b.documents) for b in open_corpus([str(tmp_path / "*")]).blocks()] == [2, 2, 2]


def test_a_text_without_blank_lines_is_continued_in_documents_of_bounded_size(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(documents_module, "DOCUMENT_LIMIT", 20)
    (tmp_path / "a.txt").write_text("123456789\n" * 5)
    found = documents(tmp_path / "a.txt")
    assert [len(lines) for lines in found] == [2, 2, 1]


def test_nothing_given():
    with pytest.raises(UserError, match="no input given"):
        open_corpus([])


def test_a_missing_file_is_named(tmp_path):
    assert_fails(r"none\.txt does not exist", tmp_path / "none.txt")


def test_a_glob_without_match_is_named(tmp_path):
    assert_fails(r"no file matches '.*\*\.txt'", tmp_path / "*.txt")


def test_a_folder_is_refused_with_the_remedy(tmp_path):
    assert_fails(r"is a folder; name its files, e\.g\. '.*\*\.txt'", tmp_path)


def test_an_unknown_ending_is_refused(tmp_path):
    (tmp_path / "a.pdf").write_text("x")
    assert_fails(r"a\.pdf: unknown kind of file", tmp_path / "a.pdf")


def test_empty_files_are_named(tmp_path):
    (tmp_path / "a.txt").write_text("")
    assert_fails(r"a\.txt: empty", tmp_path / "a.txt")


def test_text_that_is_not_utf8_is_named_with_its_byte(tmp_path):
    (tmp_path / "a.txt").write_bytes("one\n\ntwö".encode("latin-1"))
    assert_fails(r"a\.txt is not UTF-8 text: byte 7 is 0xf6 \(line 3\)", tmp_path / "a.txt")


def test_a_binary_file_is_named_with_its_byte(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\n\nt\x00wo")
    assert_fails(r"a\.txt is a binary file: byte 6 is 0x00 \(line 3\)", tmp_path / "a.txt")


def test_a_compressed_file_under_a_plain_name_is_not_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"one"))
    assert_fails(r"a\.txt is (a binary file|not UTF-8 text): byte [0-9]+ ", tmp_path / "a.txt")


def test_a_damaged_gz_file_is_named(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one two three" * 99)[:-9])
    (tmp_path / "b.txt.gz").write_bytes(b"one two three")
    assert_fails(r"a\.txt\.gz is a damaged \.gz file", tmp_path / "a.txt.gz")
    assert_fails(r"b\.txt\.gz is a damaged \.gz file", tmp_path / "b.txt.gz")


@pytest.mark.parametrize("line", ['{"text": "a"', "[1", "text", '{"text": "\x00"}', "[" * 9999])
def test_a_line_that_is_no_json_is_named(tmp_path, line):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n\n' + line + "\n")
    assert_fails(
        r"a\.jsonl:3 is not JSON|a\.jsonl is a binary file: byte .*line 3", tmp_path / "a.jsonl"
    )


@pytest.mark.parametrize("line", ['{"body": "a", "id": 1}', '{"text": 3}', '["text"]', "{}"])
def test_a_line_without_text_is_named_with_what_it_has(tmp_path, line):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    assert_fails(r'a\.jsonl:2 has no string field "text" \(found: .+\)', tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.txt.gz"])
def test_one_endless_line_is_one_clear_error(tmp_path, name):
    content = b"fine\n\n" if "txt" in name else b'{"text": "fine"}\n\n'
    content += b"x" * 50_000_000
    (tmp_path / name).write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    assert_fails(rf"{name}:3: one line is longer than 10 MiB", tmp_path / name)


def test_an_unreadable_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("one")

    def refused(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    whole = open_corpus([str(tmp_path / "a.txt")])
    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(UserError, match=r"a\.txt cannot be read: Permission denied"):
        list(whole.blocks())
