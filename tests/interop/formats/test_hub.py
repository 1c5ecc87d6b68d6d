"""The Hub: names where a path could stand, and uploads; nothing here reaches the network."""

import sys
import types
from pathlib import Path

import pytest
from interop.formats.hub_server import Hub, the_client_asks
from interop.networks import CONFIG

from electra_jax.errors import UserError
from electra_jax.interop.formats.hub import local_path, name_on_hub, uploaded
from electra_jax.interop.formats.model_card import ModelFacts, model_card


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


@pytest.fixture
def hub(monkeypatch):
    with the_client_asks(Hub(), monkeypatch) as server:
        yield server


def _upload(name, private=False, files=(("config.json", "{}"),)):
    with uploaded(name, private) as folder:
        for file, text in files:
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text)


@pytest.mark.parametrize("name", ["organisation/model", "model"])
@pytest.mark.parametrize("private", [True, False])
def test_a_folder_is_uploaded_with_the_user_s_token(hub, name, private):
    card = model_card("encoder", CONFIG, {"architectures": ["ElectraModel"]}, ModelFacts())
    files = [("config.json", '{"a": 1}'), ("README.md", card), ("encoder/x.json", "[]")]
    _upload(name, private, files)
    full = name if "/" in name else f"me/{name}"
    found = hub.models[full]
    assert found["private"] is private and hub.tokens == {"Bearer hf_abc"}
    del found["files"][".gitattributes"]
    assert found["files"] == {file: text.encode() for file, text in files}


def test_a_model_is_replaced_but_not_the_card_that_a_person_wrote(hub):
    generated = model_card("encoder", CONFIG, {"architectures": ["ElectraModel"]}, ModelFacts())
    for there, left in (
        (generated, "new"),
        ("# Mine", "# Mine"),
        (generated + "and mine", generated + "and mine"),
    ):
        hub.models["o/m"] = {"private": False, "files": {"README.md": there.encode()}}
        _upload("o/m", files=[("config.json", "{}"), ("README.md", "new")])
        assert hub.models["o/m"]["files"]["README.md"].decode() == left
        assert hub.models["o/m"]["files"]["config.json"] == b"{}"


def test_other_files_and_a_public_model_are_not_touched(hub):
    hub.models["o/m"] = {"private": False, "files": {"pytorch_model.bin": b"", "a.py": b""}}
    with pytest.raises(UserError, match=r"hub:o/m holds other files \(a\.py, pytorch_model\.bin\)"):
        _upload("o/m")
    with pytest.raises(UserError, match="hub:o/m exists and is public"):
        _upload("o/m", private=True)
    assert set(hub.models["o/m"]["files"]) == {"pytorch_model.bin", "a.py"}


def test_a_refusal_of_the_hub_is_one_line(hub):
    hub.refuses = True
    with pytest.raises(UserError, match=r"^hub:o/m: not uploaded: .*403.*$"):
        _upload("o/m")
    assert not hub.models


def test_nothing_is_uploaded_where_the_block_fails(hub):
    with pytest.raises(RuntimeError, match="no"), uploaded("o/m", False):
        raise RuntimeError("no")
    assert not hub.models and not hub.tokens


def test_without_a_token_or_the_extra_nothing_is_begun(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(UserError, match=r"hub:o/m: no token for the Hub: run `hf auth login`"):
        _upload("o/m")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"hub:o/m: .*pip install 'electra_jax\[hub\]'"):
        _upload("o/m")


@pytest.mark.parametrize(
    ("destination", "name"),
    [("hub:o/m", "o/m"), ("hub:m.v-1_2", "m.v-1_2"), ("out", None), (Path("hub/x"), None)],
)
def test_a_destination_on_the_hub_has_a_prefix(destination, name):
    assert name_on_hub(destination) == name


@pytest.mark.parametrize("destination", ["hub:", "hub:a/b/c", "hub:a b", "hub:/a", "hub:a/"])
def test_a_name_that_the_hub_cannot_have_is_refused(destination):
    with pytest.raises(UserError, match="write hub:ORGANISATION/NAME"):
        name_on_hub(destination)
