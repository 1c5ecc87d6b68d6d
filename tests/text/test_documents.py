"""Documents of .txt and .jsonl: their lines, and errors that name the line."""

import io

import pytest

from electra_jax.errors import UserError
from electra_jax.text import documents
from electra_jax.text.documents import RawDocument, is_blank, read_jsonl, read_txt


def txt(data, separation):
    return list(read_txt("a.txt", io.BytesIO(data), separation))


@pytest.mark.parametrize("separation", ["blank_lines", "lines", "files"])
def test_bad_bytes_are_named_by_their_place_in_the_file(separation):
    data = b"one\ntwo\n\n\nthree\nf\xffur\n"
    with pytest.raises(UserError, match=r"byte 17 is 0xff \(line 6\)"):
        for document in txt(data, separation):
            document.lines()


@pytest.mark.parametrize(
    ("separation", "sizes"),
    [("blank_lines", [2, 2, 1, 2]), ("lines", [1] * 7), ("files", [3, 3, 1])],
)
def test_long_documents_are_continued_and_lines_are_never_cut(monkeypatch, separation, sizes):
    monkeypatch.setattr(documents, "DOCUMENT_LIMIT", 20 if separation == "blank_lines" else 35)
    data = b"123456789\n" * 5 + b"\n" + b"123456789\n" * 2
    found = txt(data, separation)
    assert [len(document.lines()) for document in found] == sizes


def test_a_field_of_jsonl_is_read_by_name():
    data = b'{"content": "a\\nb", "text": 3}\n\n{"content": "\\ud83d"}\n'
    found = [d.lines() for d in read_jsonl("a.jsonl", io.BytesIO(data), "content")]
    assert found == [["a", "b"], ["\ufffd"]]
    with pytest.raises(
        UserError, match=r'a\.jsonl:3 has no string field "body" .*content\); --fie'
    ):
        list(read_jsonl("a.jsonl", io.BytesIO(data), "body"))[1].lines()


def test_a_value_may_hold_any_character_and_a_cell_has_no_place():
    assert RawDocument("x", "value", 1, 0, b"a\0b\n\nc").lines() == ["a\0b", "c"]
    with pytest.raises(UserError, match=r"a\.csv is not UTF-8 text: a byte is 0xe9 \(line 8\)"):
        RawDocument("a.csv", "cell", 7, 0, b"x\n\xe9").lines()


@pytest.mark.parametrize(
    ("line", "expected"),
    [(b"\n", True), ("\u3000\u00a0\n".encode(), True), (b"a\n", False), (b"\xff\n", False)],
)
def test_wide_spaces_are_blank_too(line, expected):
    assert is_blank(line) == expected
