"""A vocabulary of made-up words, and blocks small enough for a short corpus to have several."""

import pytest
from made_up_corpus import WORDS

from electra_jax.text import corpus


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    file = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    file.write_text("\n".join(WORDS) + "\n")
    return file


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(corpus, "BLOCK_DOCUMENTS", 8)
