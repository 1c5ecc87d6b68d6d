"""What a pretraining run starts from, and the move to another vocabulary."""

import numpy as np
import pytest
from interop import networks

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.mapping.pair import split_pair
from electra_jax.interop.mapping.vocabulary import change_vocabulary, token_map
from electra_jax.interop.save import save_model_folder, save_pair
from electra_jax.interop.warm_start import initial_config, initial_parameters
from electra_jax.modeling.trees import flatten
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "the", "cat", "sat", "##s", "mat"]
CONFIG = ElectraConfig(
    vocab_size=len(WORDS),
    embedding_size=16,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
)
SMALL = CONFIG.replace(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
PAIR = PairConfig(CONFIG, SMALL)


def _equal(a, b):
    x, y = flatten(a), flatten(b)
    return x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x)


def _tokenizer(folder, words):
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    load_tokenizer(folder).save(folder)
    return folder


def _random(config, kind, seed):
    return networks.random_params(config, kind, seed)


@pytest.mark.parametrize("sharing", ["embeddings", "none", "all"])
def test_a_pair_starts_where_it_ended(tmp_path, sharing):
    generator = {"embeddings": SMALL, "none": SMALL.replace(embedding_size=24), "all": CONFIG}
    pair = PairConfig(CONFIG, generator[sharing], sharing)
    params, fresh = _random(pair, "pair", 1), _random(pair, "pair", 2)
    save_pair(tmp_path / "pair", pair, params, None, {"global_step": 77})
    assert initial_config(tmp_path / "pair", None, pair) == pair
    found, lines, step = initial_parameters(tmp_path / "pair", None, pair, fresh)
    assert _equal(found, params) and step == 77
    assert len(lines) == 2 and not any("fresh" in line for line in lines)


def test_the_two_folders_of_a_pair_are_the_pair(tmp_path):
    params, fresh = _random(PAIR, "pair", 1), _random(PAIR, "pair", 2)
    save_pair(tmp_path, PAIR, params, None)
    found, _, step = initial_parameters(
        tmp_path / "discriminator", tmp_path / "generator", PAIR, fresh
    )
    assert _equal(found, params) and step is None


def test_a_discriminator_alone_leaves_the_generator_fresh_but_for_what_it_shares(tmp_path):
    params, fresh = _random(PAIR, "pair", 1), _random(PAIR, "pair", 2)
    save_pair(tmp_path, PAIR, params, None)
    found, lines, _ = initial_parameters(tmp_path / "discriminator", None, PAIR, fresh)
    assert _equal(found["electra"], params["electra"])
    assert _equal(found["discriminator_predictions"], params["discriminator_predictions"])
    assert _equal(found["generator"], fresh["generator"])
    assert _equal(found["generator_predictions"], fresh["generator_predictions"])
    assert any("generator: fresh, but for what it shares" in line for line in lines)


def test_a_generator_alone_lends_its_embeddings(tmp_path):
    params, fresh = _random(PAIR, "pair", 1), _random(PAIR, "pair", 2)
    save_pair(tmp_path, PAIR, params, None)
    found, lines, _ = initial_parameters(None, tmp_path / "generator", PAIR, fresh)
    assert _equal(found["generator"], params["generator"])
    assert _equal(found["generator_predictions"], params["generator_predictions"])
    assert _equal(found["electra"]["embeddings"], params["electra"]["embeddings"])
    assert _equal(found["electra"]["encoder"], fresh["electra"]["encoder"])
    assert lines[0] == "discriminator: fresh" and "are the shared ones" in lines[1]


def test_an_encoder_starts_the_discriminator_with_a_fresh_head(tmp_path):
    params, fresh = _random(CONFIG, "encoder", 1), _random(PAIR, "pair", 2)
    save_model_folder(tmp_path / "model", "encoder", CONFIG, params, None)
    found, lines, _ = initial_parameters(tmp_path / "model", None, PAIR, fresh)
    assert _equal(found["electra"], params["electra"])
    assert _equal(found["discriminator_predictions"], fresh["discriminator_predictions"])
    assert "fresh head" in lines[0]


def test_a_generator_of_other_embeddings_says_whose_are_shared(tmp_path):
    params, other = _random(PAIR, "pair", 1), _random(PAIR, "pair", 3)
    save_pair(tmp_path / "a", PAIR, params, None)
    save_pair(tmp_path / "b", PAIR, other, None)
    found, lines, _ = initial_parameters(
        tmp_path / "a/discriminator", tmp_path / "b/generator", PAIR, _random(PAIR, "pair", 2)
    )
    assert _equal(found["electra"], params["electra"])
    assert _equal(found["generator"], other["generator"])
    assert "differ from the discriminator's, whose are shared" in lines[1]


def test_a_masked_lm_run_starts_from_a_masked_lm_network(tmp_path):
    params, fresh = _random(CONFIG, "generator", 1), _random(CONFIG, "generator", 2)
    save_model_folder(tmp_path / "model", "generator", CONFIG, params, None)
    found, _, _ = initial_parameters(tmp_path / "model", None, CONFIG, fresh)
    assert _equal(found, params)
    assert initial_config(tmp_path / "model", None, CONFIG.replace(hidden_size=64)) == CONFIG
    save_pair(tmp_path / "pair", PAIR, _random(PAIR, "pair", 1), None)
    with pytest.raises(UserError, match="holds a pair, and this run trains one"):
        initial_config(tmp_path / "pair", None, CONFIG)


def test_the_wrong_network_in_a_place_is_named_with_the_remedy(tmp_path):
    params, fresh = _random(PAIR, "pair", 1), _random(PAIR, "pair", 2)
    save_pair(tmp_path, PAIR, params, None)
    with pytest.raises(UserError, match=r"holds a generator.*init_generator"):
        initial_parameters(tmp_path / "generator", None, PAIR, fresh)
    with pytest.raises(UserError, match=r"holds a discriminator.*give it as\s+init"):
        initial_parameters(None, tmp_path / "discriminator", PAIR, fresh)
    uniform = PairConfig(CONFIG, None)
    with pytest.raises(UserError, match="generator is uniform"):
        initial_parameters(None, tmp_path / "generator", uniform, _random(uniform, "pair", 2))


def test_another_shape_is_refused_with_every_difference(tmp_path):
    params = _random(CONFIG, "encoder", 1)
    save_model_folder(tmp_path / "model", "encoder", CONFIG, params, None)
    other = PairConfig(CONFIG.replace(num_attention_heads=2, hidden_act="relu"), None)
    with pytest.raises(
        UserError, match=r"num_attention_heads is 4 there and 2.*hidden_act is gelu"
    ):
        initial_parameters(tmp_path / "model", None, other, _random(other, "pair", 2))


def test_a_masked_lm_head_of_another_kind_is_refused_or_taken_over(tmp_path):
    untied = SMALL.replace(tie_word_embeddings=False)
    pair = PairConfig(CONFIG, untied)
    params = _random(pair, "pair", 1)
    save_pair(tmp_path, pair, params, None)
    with pytest.raises(UserError, match="tie_word_embeddings is False there and True"):
        initial_parameters(tmp_path, None, PAIR, _random(PAIR, "pair", 2))
    assert initial_config(tmp_path, None, PAIR) == pair
    found, _, _ = initial_parameters(tmp_path, None, pair, _random(pair, "pair", 2))
    assert _equal(found, params)


def test_the_shapes_of_a_start_are_taken_over(tmp_path):
    save_pair(tmp_path, PAIR, _random(PAIR, "pair", 1), None)
    run = CONFIG.replace(hidden_size=64, embedding_size=64, vocab_size=99, hidden_dropout_prob=0.3)
    found = initial_config(tmp_path, None, PairConfig(run, run.replace(num_hidden_layers=1)))
    assert found.discriminator == CONFIG.replace(vocab_size=99, hidden_dropout_prob=0.3)
    assert found.generator == SMALL.replace(vocab_size=99, hidden_dropout_prob=0.3)


def test_shared_tokens_keep_their_embeddings_under_a_new_vocabulary(tmp_path):
    old = _tokenizer(tmp_path / "old", WORDS)
    new_words = ["the", *SPECIAL[::-1], "dog", "##s"]
    new = _tokenizer(tmp_path / "new", new_words)
    pair = PairConfig(
        CONFIG.replace(vocab_size=len(new_words)), SMALL.replace(vocab_size=len(new_words))
    )
    params, fresh = _random(PAIR, "pair", 1), _random(pair, "pair", 2)
    save_pair(tmp_path / "pair", PAIR, params, old)
    found, lines, _ = initial_parameters(
        tmp_path / "pair", None, pair, fresh, new, vocabulary="map"
    )
    words = found["electra"]["embeddings"]["word_embeddings"]
    before = params["electra"]["embeddings"]["word_embeddings"]
    for i, word in enumerate(new_words):
        expected = before[WORDS.index(word)] if word in WORDS else None
        if expected is None:
            expected = fresh["electra"]["embeddings"]["word_embeddings"][i]
        assert np.array_equal(words[i], expected), word
    bias = found["generator_predictions"]["output_bias"]
    assert bias[0] == params["generator_predictions"]["output_bias"][WORDS.index("the")]
    assert bias[6] == fresh["generator_predictions"]["output_bias"][6]
    assert _equal(found["electra"]["encoder"], params["electra"]["encoder"])
    (line,) = [line for line in lines if line.startswith("vocabulary")]
    assert "7 of 8 tokens keep" in line and "1 are newly" in line and "3 of the old" in line
    with pytest.raises(UserError, match="init_vocabulary=map"):
        initial_parameters(tmp_path / "pair", None, pair, fresh, new, vocabulary="same")


def test_without_a_tokenizer_another_size_cannot_be_matched(tmp_path):
    save_pair(tmp_path / "pair", PAIR, _random(PAIR, "pair", 1), None)
    pair = PairConfig(CONFIG.replace(vocab_size=12), SMALL.replace(vocab_size=12))
    new = _tokenizer(tmp_path / "new", [*WORDS, "x", "y"])
    with pytest.raises(UserError, match="has 10 tokens, this run's 12"):
        initial_parameters(
            tmp_path / "pair", None, pair, _random(pair, "pair", 2), new, vocabulary="map"
        )


def test_special_tokens_are_matched_by_role():
    old, new = ["<pad>", "<mask>", "a"], ["[MASK]", "b", "a", "[PAD]"]
    rows = token_map(old, new, {"pad": 0, "mask": 1}, {"mask": 0, "pad": 3})
    assert rows.tolist() == [1, -1, 2, 0]


def test_a_vocabulary_change_touches_nothing_but_the_rows_of_tokens():
    params = _random(PAIR, "pair", 1)
    changed, report = change_vocabulary(params, params, np.arange(len(WORDS)))
    assert _equal(changed, params) and (report.shared, report.new, report.dropped) == (10, 0, 0)


def _padded(folder, tokenizer, rows):
    config = CONFIG.replace(vocab_size=rows)
    params = _random(config, "generator", 1)
    save_model_folder(folder, "generator", config, params, tokenizer)
    return params


def test_a_vocabulary_padded_to_a_multiple_of_eight_is_cut(tmp_path):
    from electra_jax.interop.load import load_model_folder

    params = _padded(tmp_path / "model", _tokenizer(tmp_path / "tokenizer", WORDS), 16)
    loaded = load_model_folder(tmp_path / "model")
    assert loaded.config.vocab_size == 10
    words = params["electra"]["embeddings"]["word_embeddings"]
    assert np.array_equal(loaded.params["electra"]["embeddings"]["word_embeddings"], words[:10])
    assert loaded.params["generator_predictions"]["output_bias"].shape == (10,)
    assert any("cut from 16 rows to 10" in note for note in loaded.notes)


@pytest.mark.parametrize("rows", [9, 17])
def test_a_vocabulary_of_another_size_than_the_embedding_names_both(tmp_path, rows):
    from electra_jax.interop.load import load_model_folder

    _padded(tmp_path / "model", _tokenizer(tmp_path / "tokenizer", WORDS), rows)
    with pytest.raises(UserError, match=f"has 10 tokens, the embedding table {rows} rows"):
        load_model_folder(tmp_path / "model")


def test_split_parts_of_a_pair_share_their_arrays():
    params = _random(PAIR, "pair", 1)
    parts = split_pair(PAIR, params)
    words = [parts[k][1]["electra"]["embeddings"]["word_embeddings"] for k in parts]
    assert words[0] is words[1] is params["electra"]["embeddings"]["word_embeddings"]
