"""The pictures' script: what it draws comes from the pair, and pieces of a word stand together."""

import sys
from pathlib import Path

import numpy as np
import pytest

import electra_jax

ROOT = Path(__file__).resolve().parents[2]
PAIR = ROOT / "tests" / "training" / "b199300" / "pair"


@pytest.fixture(scope="module")
def pictures():
    """docs/pictures.py, which is a script."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import pictures
    finally:
        sys.path.pop(0)
    return pictures


TOKENS = [
    {"text": "[CLS]", "probability": 0.01},
    {"text": "chang", "probability": 0.1},
    {"text": "##ed", "probability": 0.9, "replaced": True, "original": "##ing"},
    {"text": "<b>", "probability": 0.2},
    {"text": "[SEP]", "probability": 0.01},
]


def test_pieces_of_a_word_stand_together_without_their_marks(pictures):
    assert [[t["text"] for t in word] for word in pictures.words(TOKENS)] == [
        ["chang", "##ed"],
        ["<b>"],
    ]
    page = pictures.tokens_page(TOKENS, 640, "a note")
    assert '<span class="was">ing</span><b>ed</b>' in page and "##" not in page
    assert "<b>&lt;b&gt;</b>" in page and "[CLS]" not in page and "1. a note" in page
    assert page.count('class="piece replaced"') == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_a_text_is_corrupted_at_its_masked_positions_alone(pictures, seed):
    model = electra_jax.load(PAIR)
    text = "a b c d e f g h"
    tokens = pictures.corrupted(model, text, seed)
    assert tokens == pictures.corrupted(model, text, seed)
    before = model.tokenizer.ids_to_tokens(model.tokenizer([text])["input_ids"][0].tolist())
    assert [t.get("original", t["text"]) for t in tokens] == before
    assert all(0 < t["probability"] < 1 for t in tokens)
    replaced = [i for i, t in enumerate(tokens) if t.get("replaced")]
    assert len(replaced) <= round(pictures.MASKED * (len(tokens) - 2))
    assert all(tokens[i]["text"] != tokens[i]["original"] for i in replaced)
    ids = [[model.tokenizer.id_of(t["text"]) for t in tokens]]
    logits = model.discriminator({"input_ids": np.array(ids)}).logits[0]
    found = [t["probability"] for t in tokens]
    np.testing.assert_allclose(1 / (1 + np.exp(-np.asarray(logits))), found, rtol=1e-5)
