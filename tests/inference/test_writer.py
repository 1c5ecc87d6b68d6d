"""Answers in files: complete or absent, in folders that are made for them."""

import gzip
import os

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.inference.writer import check_outputs, write_lines

RECORDS = [{"label": "très bon", "p": np.float32(0.5)}, None, {"n": np.int64(3)}]
LINES = '{"label": "très bon", "p": 0.5}\nnull\n{"n": 3}\n'


def test_the_folder_of_a_file_is_made(tmp_path):
    target = tmp_path / "new" / "folder" / "x.jsonl"
    assert write_lines(RECORDS, target) == 3
    assert target.read_text("utf-8") == LINES
    assert [p.name for p in target.parent.iterdir()] == ["x.jsonl"]


def test_a_packed_file_has_the_same_bytes_each_time(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_lines(RECORDS, tmp_path / name)
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).decode() == LINES
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_an_error_half_way_leaves_what_was_there(tmp_path):
    def broken():
        yield {"n": 1}
        raise UserError("line 2 is wrong")

    target = tmp_path / "x.jsonl"
    target.write_text("before")
    with pytest.raises(UserError, match="line 2"):
        write_lines(broken(), target)
    assert target.read_text() == "before" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(TypeError, match="set is not JSON"):
        write_lines([{"n": {1}}], target)


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/x\.jsonl"):
        write_lines(RECORDS, tmp_path / "file" / "x.jsonl")


def test_a_reader_that_has_read_enough_is_no_error_in_the_input(monkeypatch, capsys):
    """`predict --output=- | head -1`: the command line ends without a message."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", closefd=False) as closed:
        monkeypatch.setattr("sys.stdout", closed)
        with pytest.raises(BrokenPipeError):
            write_lines(RECORDS, "-")
        with pytest.raises(BrokenPipeError):
            write_lines(RECORDS, f"/dev/fd/{write}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)
    os.close(write)
    assert capsys.readouterr().err == ""


def test_each_line_is_in_the_pipe_when_it_is_known(monkeypatch):
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read, "rb") as reader:
        monkeypatch.setattr("sys.stdout", stream)

        def records():
            yield {"n": 1}
            assert os.read(reader.fileno(), 100) == b'{"n": 1}\n'
            yield {"n": 2}

        os.set_blocking(read, False)
        assert write_lines(records(), "-") == 2


def test_an_output_that_is_read_or_written_already_is_refused(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    check_outputs(str(a), b, None, "-", "-")
    (tmp_path / "link").symlink_to(a)
    for targets in ((a,), (b, b), (tmp_path / "link",)):
        with pytest.raises(UserError, match="name another output file"):
            check_outputs(str(a), *targets)
    check_outputs("/dev/null", "/dev/null")  # a device is no file that could be lost
