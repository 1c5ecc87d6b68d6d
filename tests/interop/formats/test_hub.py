"""Names on the Hub where a path could stand; nothing here reaches the network."""

import sys
import types

import pytest

from electra_jax.errors import UserError
from electra_jax.interop.formats.hub import local_path


def test_a_path_is_itself(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    assert local_path(tmp_path / "a/b") == tmp_path / "a/b"
    assert local_path(tmp_path / "a/new") == tmp_path / "a/new"


def test_a_name_is_fetched_without_the_files_that_are_never_read(tmp_path, monkeypatch):
    asked = {}

    def snapshot_download(name, allow_patterns):
        asked.update(name=name, patterns=allow_patterns)
        return str(tmp_path)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert local_path("organisation/model-name") == tmp_path
    assert asked["name"] == "organisation/model-name"
    assert "*.safetensors" in asked["patterns"] and "*.h5" not in asked["patterns"]


def test_a_name_without_the_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"electra_jax\[hub\]"):
        local_path("organisation/model-name")


def test_a_name_that_is_not_found_is_one_line(monkeypatch):
    def snapshot_download(name, allow_patterns):
        raise OSError("404 Client Error\nwith more lines")

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(UserError, match=r"not found on the Hub \(404 Client Error\)$"):
        local_path("organisation/model-name")
