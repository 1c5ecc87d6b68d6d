"""Tokenizers by name: from the Hub's own cache, without the network; paths are never looked up."""

import sys

import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.hub import is_hub_name
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch, vocab_file):
    """A cache in the layout of huggingface_hub with one tokenizer under two names."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("models--small-uncased", "models--some--small"):
        folder = tmp_path / "hub" / name
        snapshot = folder / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(COMMIT)
        (snapshot / "vocab.txt").write_bytes(vocab_file.read_bytes())
        (snapshot / "tokenizer_config.json").write_text('{"do_lower_case": true}')


@pytest.mark.parametrize("name", ["small-uncased", "some/small"])
def test_a_name_loads_what_the_hub_has(cache, name):
    tokenizer = load_tokenizer(name)
    assert tokenizer.ids_to_tokens(tokenizer.encode("The CAFE")) == ["the", "cafe"]


def test_a_folder_goes_before_a_name(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small-uncased").mkdir()
    with pytest.raises(UserError, match="small-uncased holds no tokenizer"):
        load_tokenizer("small-uncased")


def test_a_name_that_is_nowhere_is_one_line(cache):
    with pytest.raises(UserError, match=r"no such file or folder here, and not found on the Hub"):
        load_tokenizer("no-such-tokenizer")


def test_without_the_extra_the_message_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'electra_jax\[hub\]'"):
        load_tokenizer("some/small")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("bert-base-uncased", True),
        ("google/electra-small-discriminator", True),
        ("tests/none", False),  # a folder of this checkout
        ("vocab.txt", False),
        ("some/vocab.txt", False),
        ("/absolute/path", False),
        ("./tok", False),
        ("a/b/c", False),
        ("", False),
    ],
)
def test_paths_and_names_are_told_apart(path, expected):
    assert is_hub_name(path) == expected
