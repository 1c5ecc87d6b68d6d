"""A tokenizer folder on disk: which files, whole, and none left of what was there before."""

import json

import pytest

from electra_jax.text.tokenizers.special_ids import SpecialIds
from electra_jax.text.tokenizers.tokenizer_folder import write_folder
from electra_jax.text.tokenizers.tokenizer_json import added_token, declare_special_tokens
from electra_jax.text.tokenizers.wordpiece import Options, tokenizer_definition

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
COMMON = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}


def write(folder, added=(), spiece=None):
    definition = tokenizer_definition([*SPECIAL_TOKENS, "the"], Options(), "a test")
    definition["added_tokens"] = [added_token(6 + i, token) for i, token in enumerate(added)]
    declared, by_role = declare_special_tokens(definition, {}, "a test")
    if spiece is not None:  # any model but WordPiece has no vocab.txt
        declared["model"] = {**declared["model"], "type": "BPE"}
    write_folder(folder, declared, by_role, SpecialIds(*range(5)), spiece)
    return {path.name for path in folder.iterdir()}


def test_a_wordpiece_folder_has_its_vocabulary_in_the_order_of_the_ids(tmp_path):
    assert write(tmp_path / "new" / "folder") == COMMON | {"vocab.txt"}
    lines = (tmp_path / "new" / "folder" / "vocab.txt").read_text().splitlines()
    assert lines == [*SPECIAL_TOKENS, "the"]
    template = json.loads((tmp_path / "new" / "folder" / "tokenizer.json").read_text())
    assert template["post_processor"]["special_tokens"]["[SEP]"]["ids"] == [3]


def test_files_of_another_kind_are_removed_and_all_others_left(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    assert write(tmp_path, added=["[E1]"]) == COMMON | {
        "vocab.txt", "added_tokens.json", "README.md"
    }  # fmt: skip
    assert json.loads((tmp_path / "added_tokens.json").read_text()) == {"[E1]": 6}
    assert write(tmp_path, spiece=b"model") == COMMON | {"spiece.model", "README.md"}
    assert (tmp_path / "spiece.model").read_bytes() == b"model"
    assert write(tmp_path) == COMMON | {"vocab.txt", "README.md"}


def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    write(tmp_path)
    before = (tmp_path / "tokenizer.json").read_bytes()

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, added=["[E1]"])
    assert (tmp_path / "tokenizer.json").read_bytes() == before
