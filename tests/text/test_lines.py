"""Lines of files: numbers and offsets, bounded length, and errors that name the place."""

import gzip

import pytest

from electra_jax.errors import UserError
from electra_jax.text.lines import json_value, numbered_lines, open_bytes, stored_position

CONTENT = b"\xef\xbb\xbffirst\n\nthird"


def lines_of(path, limit=2**20):
    with open_bytes(str(path)) as stream:
        return list(numbered_lines(str(path), stream, limit, "cut it"))


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_lines_have_numbers_and_offsets_and_no_byte_order_mark(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(gzip.compress(CONTENT) if name.endswith(".gz") else CONTENT)
    assert lines_of(file) == [(1, 3, b"first\n"), (2, 9, b"\n"), (3, 10, b"third")]


def test_the_position_counts_stored_bytes(tmp_path):
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(b"x" * 100_000))
    with open_bytes(str(file)) as stream:
        stream.read()
        assert stored_position(stream) == file.stat().st_size < 1000


def test_a_line_beyond_the_limit_is_named(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"a\n" + b"x" * 2**20 + b"\n")
    with pytest.raises(UserError, match=r"a\.txt:2: one line is longer than 1 MiB; cut it"):
        lines_of(file)


def test_damaged_and_missing_files_are_named(tmp_path):
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(CONTENT)[:-9])
    with pytest.raises(UserError, match=r"a\.txt\.gz is a damaged \.gz file"):
        lines_of(file)
    with pytest.raises(UserError, match=r"none\.txt cannot be read: No such file"):
        lines_of(tmp_path / "none.txt")


@pytest.mark.parametrize(("text", "reason"), [("{", "column 2"), ("[" * 100_000, "too deeply")])
def test_what_is_not_json_is_named(text, reason):
    assert json_value('{"a": [1]}', "x:1") == {"a": [1]}
    with pytest.raises(UserError, match=f"x:7 is not JSON .*{reason}"):
        json_value(text, "x:7")
