"""A small WordPiece vocabulary."""

import pytest

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "cl", "##s", "pad", "un"]
VOCAB += ["##aff", "##able", "caf", "##e", "##é", "C", "cafe", "中", "文", ",", ".", "the", "a"]


@pytest.fixture
def vocab_file(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("".join(f"{token}\n" for token in VOCAB), "utf-8")
    return file
