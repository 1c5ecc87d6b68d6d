"""Standard input and pipes: read once, under a name that is the same for the same content."""

import gzip
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tiny_run import environment

from electra_jax.errors import UserError
from electra_jax.text.corpus import open_corpus
from electra_jax.text.standard_input import is_stream, stored_stream


@pytest.fixture
def stdin(monkeypatch):
    def give(data):
        stream = io.TextIOWrapper(io.BytesIO(data))
        monkeypatch.setattr(sys, "stdin", stream)

    return give


@pytest.mark.parametrize(
    ("data", "ending"),
    [
        (b"a\n\nb", ".txt"),
        (b'\xef\xbb\xbf\n {"text": "a"}\n', ".jsonl"),
        (gzip.compress(b"a\n\nb", mtime=0), ".txt.gz"),
        (gzip.compress(b'{"text": "a"}', mtime=0), ".jsonl.gz"),
        (gzip.compress(b"a" * 99, mtime=0)[:-9], ".txt.gz"),
        (b"\xff\xfe binary", ".txt"),
    ],
)
def test_the_format_is_seen_in_the_content(stdin, data, ending, caplog):
    stdin(data)
    file = Path(stored_stream("-"))
    assert file.name.endswith(ending) and file.name.count(".") == ending.count(".")
    assert file.read_bytes() == data
    assert f"note: - is read as {ending}" in caplog.text


def test_equal_content_is_the_same_input_and_other_content_is_not(stdin):
    identities = []
    for data in (b"a\n\nb", b"a\n\nb", b"a\n\nc"):
        stdin(data)
        corpus = open_corpus(["-"])
        assert corpus.newest_change() == 0
        identities.append(corpus.identity())
    assert identities[0] == identities[1] != identities[2]


def test_a_named_pipe_is_read_once_and_a_file_is_no_stream(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    writer = threading.Thread(target=(tmp_path / "pipe.txt").write_bytes, args=(b"a\n\nb",))
    writer.start()
    corpus = open_corpus([str(tmp_path / "pipe.txt")])
    writer.join()
    for _ in range(2):
        assert list(corpus.documents()) == [["a"], ["b"]]
    (tmp_path / "a.txt").write_text("a")
    assert [is_stream(p) for p in ("-", "/dev/stdin", str(tmp_path / "a.txt"))] == [1, 1, 0]


def test_the_shell_s_ways_to_pipe_leave_nothing_behind(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"content": "a"}\n{"content": "b"}\n')
    program = (
        "import sys; from electra_jax.text.corpus import open_corpus; "
        "print([list(open_corpus([x], field='content').documents()) for x in sys.argv[1:]])"
    )
    command = f"'{sys.executable}' -c \"{program}\" <(cat a.jsonl) /dev/stdin < a.jsonl"
    kept = tmp_path / "temporary"
    kept.mkdir()
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path, env={**environment(), "TMPDIR": str(kept)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == str([[["a"], ["b"]]] * 2), done.stderr
    assert not list(kept.iterdir())


def test_nothing_and_terminals_are_refused(stdin, monkeypatch):
    stdin(b"")
    with pytest.raises(UserError, match="-: nothing came from this pipe"):
        open_corpus(["-"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(UserError, match="standard input is a terminal"):
        open_corpus(["-"])
