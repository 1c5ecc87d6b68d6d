"""Vocabularies: padded tables cut, embeddings moved to other tokens."""

import json

import numpy as np
import pytest
from interop import networks
from interop.networks import CONFIG, SMALL, equal

from electra_jax.config.model import PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.mapping.vocabulary import change_vocabulary, is_padded, token_map

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "mat"]


def test_special_tokens_are_matched_by_role():
    old, new = ["<pad>", "<mask>", "a"], ["[MASK]", "b", "a", "[PAD]"]
    rows = token_map(old, new, {"pad": 0, "mask": 1}, {"mask": 0, "pad": 3})
    assert rows.tolist() == [1, -1, 2, 0]


def test_of_a_token_that_the_old_vocabulary_has_twice_the_first_row_is_kept():
    assert token_map(["a", "b", "a"], ["a", "c"]).tolist() == [0, -1]


def test_a_vocabulary_change_touches_nothing_but_the_rows_of_tokens():
    params = networks.random_params(PairConfig(CONFIG, SMALL), "pair")
    changed, report = change_vocabulary(params, params, np.arange(CONFIG.vocab_size))
    assert equal(changed, params) and (report.shared, report.new, report.dropped) == (60, 0, 0)


def test_moved_rows_keep_their_numbers_and_new_ones_are_fresh():
    old, fresh = (networks.random_params(CONFIG, "generator", seed) for seed in (1, 2))
    rows = np.full(60, -1)
    rows[[0, 7]] = [59, 3]
    changed, report = change_vocabulary(old, fresh, rows)
    table = changed["electra"]["embeddings"]["word_embeddings"]
    bias = changed["generator_predictions"]["output_bias"]
    for new, row in enumerate(rows):
        source, i = (fresh, new) if row < 0 else (old, row)
        assert np.array_equal(table[new], source["electra"]["embeddings"]["word_embeddings"][i])
        assert bias[new] == source["generator_predictions"]["output_bias"][i]
    assert (report.shared, report.new, report.dropped) == (2, 58, 58)
    with pytest.raises(UserError, match=r"word_embeddings: .*for a vocabulary of 61 tokens"):
        change_vocabulary(old, fresh, np.full(61, -1))


@pytest.mark.parametrize(
    ("rows", "size", "padded"),
    [(30528, 30522, True), (30592, 30522, True), (30523, 30522, False), (30522, 30522, False)],
)
def test_padded_means_rounded_up_to_a_multiple_that_hardware_likes(rows, size, padded):
    assert is_padded(rows, size) == padded


def _with_rows(tmp_path, rows):
    """A generator whose table has `rows` rows beside a tokenizer of ten tokens."""
    tokenizer = networks.tokenizer_folder(tmp_path / "tokenizer", WORDS)
    config = CONFIG.replace(vocab_size=rows)
    return networks.saved(tmp_path / "model", "generator", config, tokenizer)


def test_a_vocabulary_padded_to_a_multiple_of_eight_is_cut(tmp_path):
    loaded = load_model_folder(_with_rows(tmp_path, 16))
    assert loaded.config.vocab_size == 10
    params = networks.random_params(CONFIG.replace(vocab_size=16), "generator")
    words = params["electra"]["embeddings"]["word_embeddings"]
    assert np.array_equal(loaded.params["electra"]["embeddings"]["word_embeddings"], words[:10])
    assert loaded.params["generator_predictions"]["output_bias"].shape == (10,)
    assert any("cut from 16 rows to 10" in note for note in loaded.notes)


def test_a_table_smaller_than_the_vocabulary_is_refused_with_both_sizes(tmp_path):
    with pytest.raises(UserError, match="has 10 tokens, the embedding table 9 rows"):
        load_model_folder(_with_rows(tmp_path, 9))


def test_rows_beyond_the_vocabulary_that_are_no_padding_are_kept_with_a_note(tmp_path):
    loaded = load_model_folder(_with_rows(tmp_path, 17))
    assert loaded.config.vocab_size == loaded.settings["vocab_size"] == 17
    params = networks.random_params(CONFIG.replace(vocab_size=17), "generator")
    assert equal(loaded.params, params)
    (note,) = loaded.notes
    assert note.startswith("the embedding table has 17 rows, the vocabulary 10 tokens: the last 7")


def test_rows_of_added_tokens_are_no_padding(tmp_path):
    """10 words and 6 added tokens: the table of 16 rows is full."""
    folder = _with_rows(tmp_path, 16)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink()
    added = {f"[E{i}]": 10 + i for i in range(6)}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    loaded = load_model_folder(folder)
    assert loaded.config.vocab_size == 16 and not any("cut" in note for note in loaded.notes)
    (folder / "added_tokens.json").write_text(json.dumps({**added, "[E6]": 16}))
    with pytest.raises(UserError, match="has 17 tokens, the embedding table 16 rows"):
        load_model_folder(folder)
