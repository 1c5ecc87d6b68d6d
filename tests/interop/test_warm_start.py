"""What a pretraining run starts from, and the move to another vocabulary."""

import numpy as np
import pytest
from interop import networks

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.save import save_model_folder, save_pair
from electra_jax.interop.warm_start import initial_config, initial_parameters

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
    assert networks.equal(found, params) and step == 77
    assert len(lines) == 2 and not any("fresh" in line for line in lines)


def test_the_two_folders_of_a_pair_are_the_pair(tmp_path):
    params, fresh = _random(PAIR, "pair", 1), _random(PAIR, "pair", 2)
    save_pair(tmp_path, PAIR, params, None)
    found, _, step = initial_parameters(
        tmp_path / "discriminator", tmp_path / "generator", PAIR, fresh
    )
    assert networks.equal(found, params) and step is None


def test_a_discriminator_alone_leaves_the_generator_fresh_but_for_what_it_shares(tmp_path):
    params, fresh = _random(PAIR, "pair", 1), _random(PAIR, "pair", 2)
    save_pair(tmp_path, PAIR, params, None)
    found, lines, _ = initial_parameters(tmp_path / "discriminator", None, PAIR, fresh)
    assert networks.equal(found["electra"], params["electra"])
    assert networks.equal(found["discriminator_predictions"], params["discriminator_predictions"])
    assert networks.equal(found["generator"], fresh["generator"])
    assert networks.equal(found["generator_predictions"], fresh["generator_predictions"])
    assert any("generator: fresh, but for what it shares" in line for line in lines)


def test_a_generator_alone_lends_its_embeddings(tmp_path):
    params, fresh = _random(PAIR, "pair", 1), _random(PAIR, "pair", 2)
    save_pair(tmp_path, PAIR, params, None)
    found, lines, _ = initial_parameters(None, tmp_path / "generator", PAIR, fresh)
    assert networks.equal(found["generator"], params["generator"])
    assert networks.equal(found["generator_predictions"], params["generator_predictions"])
    assert networks.equal(found["electra"]["embeddings"], params["electra"]["embeddings"])
    assert networks.equal(found["electra"]["encoder"], fresh["electra"]["encoder"])
    assert lines[0] == "discriminator: fresh" and "are the shared ones" in lines[1]


def test_an_encoder_starts_the_discriminator_with_a_fresh_head(tmp_path):
    params, fresh = _random(CONFIG, "encoder", 1), _random(PAIR, "pair", 2)
    save_model_folder(tmp_path / "model", "encoder", CONFIG, params, None)
    found, lines, _ = initial_parameters(tmp_path / "model", None, PAIR, fresh)
    assert networks.equal(found["electra"], params["electra"])
    assert networks.equal(found["discriminator_predictions"], fresh["discriminator_predictions"])
    assert "fresh head" in lines[0]


def test_a_generator_of_other_embeddings_says_whose_are_shared(tmp_path):
    params, other = _random(PAIR, "pair", 1), _random(PAIR, "pair", 3)
    save_pair(tmp_path / "a", PAIR, params, None)
    save_pair(tmp_path / "b", PAIR, other, None)
    found, lines, _ = initial_parameters(
        tmp_path / "a/discriminator", tmp_path / "b/generator", PAIR, _random(PAIR, "pair", 2)
    )
    assert networks.equal(found["electra"], params["electra"])
    assert networks.equal(found["generator"], other["generator"])
    assert "differ from the discriminator's, whose are shared" in lines[1]


def test_a_masked_lm_run_starts_from_a_masked_lm_network(tmp_path):
    params, fresh = _random(CONFIG, "generator", 1), _random(CONFIG, "generator", 2)
    save_model_folder(tmp_path / "model", "generator", CONFIG, params, None)
    found, _, _ = initial_parameters(tmp_path / "model", None, CONFIG, fresh)
    assert networks.equal(found, params)
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
    assert networks.equal(found, params)


def test_the_shapes_of_a_start_are_taken_over(tmp_path):
    save_pair(tmp_path, PAIR, _random(PAIR, "pair", 1), None)
    run = CONFIG.replace(hidden_size=64, embedding_size=64, vocab_size=99, hidden_dropout_prob=0.3)
    found = initial_config(tmp_path, None, PairConfig(run, run.replace(num_hidden_layers=1)))
    assert found.discriminator == CONFIG.replace(vocab_size=99, hidden_dropout_prob=0.3)
    assert found.generator == SMALL.replace(vocab_size=99, hidden_dropout_prob=0.3)


def test_shared_tokens_keep_their_embeddings_under_a_new_vocabulary(tmp_path):
    old = networks.tokenizer_folder(tmp_path / "old", WORDS)
    new_words = ["the", *SPECIAL[::-1], "dog", "##s"]
    new = networks.tokenizer_folder(tmp_path / "new", new_words)
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
    assert networks.equal(found["electra"]["encoder"], params["electra"]["encoder"])
    (line,) = [line for line in lines if line.startswith("vocabulary")]
    assert "7 of 8 tokens keep" in line and "1 are newly" in line and "3 of the old" in line
    with pytest.raises(UserError, match="init_vocabulary=map"):
        initial_parameters(tmp_path / "pair", None, pair, fresh, new, vocabulary="same")


@pytest.mark.parametrize("vocabulary", ["same", "map"])
def test_rows_without_a_token_do_not_make_another_vocabulary(tmp_path, vocabulary):
    """A start whose table has more rows than its tokenizer tokens, as some released models."""
    tokenizer = networks.tokenizer_folder(tmp_path / "tokenizer", WORDS)
    wide = PairConfig(CONFIG.replace(vocab_size=13), SMALL.replace(vocab_size=13))
    params, fresh = _random(wide, "pair", 1), _random(PAIR, "pair", 2)
    save_pair(tmp_path / "pair", wide, params, tokenizer)
    found, lines, _ = initial_parameters(
        tmp_path / "pair", None, PAIR, fresh, tokenizer, vocabulary=vocabulary
    )
    table = params["electra"]["embeddings"]["word_embeddings"]
    assert np.array_equal(found["electra"]["embeddings"]["word_embeddings"], table[:10])
    bias = params["generator_predictions"]["output_bias"]
    assert np.array_equal(found["generator_predictions"]["output_bias"], bias[:10])
    (line,) = [line for line in lines if line.startswith("vocabulary")]
    assert "10 of 10 tokens keep" in line and "3 of the old" in line


def test_without_a_tokenizer_another_size_cannot_be_matched(tmp_path):
    save_pair(tmp_path / "pair", PAIR, _random(PAIR, "pair", 1), None)
    pair = PairConfig(CONFIG.replace(vocab_size=12), SMALL.replace(vocab_size=12))
    new = networks.tokenizer_folder(tmp_path / "new", [*WORDS, "x", "y"])
    with pytest.raises(UserError, match="has 10 tokens, this run's 12"):
        initial_parameters(
            tmp_path / "pair", None, pair, _random(pair, "pair", 2), new, vocabulary="map"
        )


def _gdes(d, g):
    """A pair's fresh parameters, and what it begins with from `d` and `g`."""
    pair = PairConfig(CONFIG, SMALL, "gdes")
    fresh = _random(pair, "pair", 2)
    found, _, _ = initial_parameters(d, g, pair, fresh)
    own, lent = found["electra"]["embeddings"], found["generator"]["embeddings"]
    assert {*own} == {*fresh["electra"]["embeddings"]}
    return fresh, own, lent


def test_differences_begin_as_what_two_networks_differ_by(tmp_path):
    pair = PairConfig(CONFIG, SMALL, "nes")
    params = _random(pair, "pair", 1)
    save_pair(tmp_path, pair, params, None)
    d, g = tmp_path / "discriminator", tmp_path / "generator"
    words = [params[n]["embeddings"]["word_embeddings"] for n in ("electra", "generator")]
    _, own, lent = _gdes(d, g)
    np.testing.assert_array_equal(lent["word_embeddings"], words[1])
    np.testing.assert_allclose(own["word_embeddings_delta"], words[0] - words[1], atol=1e-6)
    for one, both in ((_gdes(d, None), words[0]), (_gdes(None, g), words[1])):
        np.testing.assert_array_equal(one[2]["word_embeddings"], both)
        assert not one[1]["word_embeddings_delta"].any()


def test_another_kind_of_head_starts_fresh(tmp_path):
    save_pair(tmp_path, PAIR, _random(PAIR, "pair", 1), None)
    pair = PairConfig(CONFIG.replace(discriminator_head="deberta"), SMALL)
    fresh = _random(pair, "pair", 2)
    found, lines, _ = initial_parameters(tmp_path, None, pair, fresh)
    assert networks.equal(found["discriminator_predictions"], fresh["discriminator_predictions"])
    assert "fresh head" in lines[0]
