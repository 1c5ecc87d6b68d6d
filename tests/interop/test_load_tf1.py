"""A TF1 checkpoint as a network: completed by the files beside it, its padding cut."""

import json

import numpy as np
import pytest
from interop import networks
from interop.networks import CONFIG, SMALL, equal

from electra_jax.config.model import PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.formats.tf1 import write_bundle
from electra_jax.interop.load_tf1 import load_tf1
from electra_jax.interop.mapping.hf_config import to_settings
from electra_jax.interop.mapping.tf1_networks import tf1_from_tree

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "mat"]
PAIR = PairConfig(CONFIG, SMALL)


def _bundle(folder, config, kind="pair"):
    params = networks.random_params(config, kind)
    write_bundle(folder / "model.ckpt-3", tf1_from_tree(config, params, kind=kind, global_step=3))
    return params


def test_heads_and_dropout_come_from_the_files_beside_it(tmp_path):
    params = _bundle(tmp_path, PAIR)
    stated = {"discriminator": CONFIG.replace(hidden_dropout_prob=0.3), "generator": SMALL}
    for kind, config in stated.items():
        settings = to_settings(config, "encoder")
        (tmp_path / f"{kind}.json").write_text(json.dumps(settings))
    loaded = load_tf1(tmp_path, None, None)
    assert (loaded.kind, loaded.global_step, loaded.notes) == ("pair", 3, [])
    assert loaded.config.discriminator == stated["discriminator"]
    assert loaded.config.generator == SMALL and equal(loaded.params, params)
    # What the user gives goes before the files.
    assert load_tf1(tmp_path, 8, None).config.discriminator.num_attention_heads == 8


def test_padded_rows_are_cut_to_the_tokenizer_beside_it(tmp_path):
    config = CONFIG.replace(vocab_size=16)
    params = _bundle(tmp_path, config, "generator")
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    loaded = load_tf1(tmp_path / "model.ckpt-3", 4, None)
    assert loaded.config == CONFIG.replace(vocab_size=10)
    for path, name in (("electra/embeddings", "word_embeddings"), ("generator_predictions",) * 2):
        tree, before = loaded.params, params
        for part in path.split("/"):
            tree, before = tree[part], before[part]
        name = "output_bias" if name == "generator_predictions" else name
        assert np.array_equal(tree[name], before[name][:10])
    assert any("cut from 16 rows to 10" in note for note in loaded.notes)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    _bundle(tmp_path, CONFIG, "generator")
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    with pytest.raises(UserError, match="has 10 tokens, the embedding table 60 rows"):
        load_tf1(tmp_path, 4, None)


def test_infinite_numbers_are_noted(tmp_path):
    params = networks.random_params(CONFIG, "generator")
    params["generator_predictions"]["dense"]["bias"][0] = np.inf
    write_bundle(tmp_path / "model.ckpt", tf1_from_tree(CONFIG, params, kind="generator"))
    notes = load_tf1(tmp_path, 4, None).notes
    assert "NaN or infinite numbers in generator_predictions/dense/bias" in notes
