"""No half-written file, and nothing but an object where one is asked for."""

import errno
import fcntl
import hashlib
import json
import multiprocessing
import sys

import pytest

from electra_jax.errors import UserError
from electra_jax.files import FileLock, HeldError, read_object, sha256_of, write_json_atomic


def test_json_is_written_whole_and_read_back(tmp_path):
    path = tmp_path / "a.json"
    for value in ({"a": [1, 2.5, None, "é"]}, {"b": {}}):
        write_json_atomic(path, value)
        assert json.loads(path.read_text(encoding="utf-8")) == value
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("value", [{"x": object()}, {"x": float("nan")}])
def test_what_is_not_json_leaves_the_old_file(tmp_path, value):
    path = tmp_path / "a.json"
    write_json_atomic(path, {"old": True})
    with pytest.raises((TypeError, ValueError)):
        write_json_atomic(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == {"old": True}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def write_beyond_the_limit(path: str) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        write_json_atomic(path, {"new": "x" * 5000})
    except UserError as error:
        assert "File too large" in str(error), error
        sys.exit(7)


def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "a.json"
    write_json_atomic(path, {"old": True})
    child = multiprocessing.get_context("spawn").Process(
        target=write_beyond_the_limit, args=(str(path),)
    )
    child.start()
    child.join()
    assert child.exitcode == 7
    assert json.loads(path.read_text(encoding="utf-8")) == {"old": True}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", ["[1]", "{", "null"])
def test_what_holds_no_object_is_an_error(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ValueError):
        read_object(path)
    path.write_text('{"a": [1]}')
    assert read_object(path) == {"a": [1]}


def test_the_digest_is_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_held_lock_names_its_holder_and_is_given_back(tmp_path):
    lock = FileLock(tmp_path / "lock", "the first")
    for optional in (False, True):
        with pytest.raises(HeldError, match=r"^the first$"):
            FileLock(tmp_path / "lock", "the second", optional=optional)
    lock.close()
    lock.close()
    FileLock(tmp_path / "lock", "2").close()
    assert (tmp_path / "lock").read_text() == "2"


def test_where_there_are_no_locks_only_an_optional_one_goes_on(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(OSError, match="No locks"):
        FileLock(tmp_path / "lock")
    FileLock(tmp_path / "lock", optional=True).close()
