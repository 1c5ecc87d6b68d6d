"""The parts of a loaded model that can start a run, and whether they fit it."""

import pytest
from interop.networks import CONFIG, SMALL, equal, random_params, saved

from electra_jax.config.model import PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.mapping.names import DISCRIMINATOR, GENERATOR
from electra_jax.interop.save import save_pair
from electra_jax.interop.starting_point import (
    D_HEAD,
    Tokens,
    adopt,
    check_shape,
    fit,
    start_of,
    starts_of,
)

PAIR = PairConfig(CONFIG, SMALL)


def test_a_pair_starts_both_roles(tmp_path):
    params = random_params(PAIR, "pair")
    save_pair(tmp_path, PAIR, params, None)
    d, g = starts_of(tmp_path, None)
    assert (d.config, g.config) == (CONFIG, SMALL)
    assert equal(d.encoder, params["electra"]) and equal(d.head, params[D_HEAD])
    assert equal(g.encoder["embeddings"], params["electra"]["embeddings"])
    assert starts_of(None, None) == (None, None)
    uniform = PairConfig(CONFIG, None)
    save_pair(tmp_path / "uniform", uniform, random_params(uniform, "pair"), None)
    with pytest.raises(UserError, match="its generator is uniform, there is none to start from"):
        start_of(load_model_folder(tmp_path / "uniform"), GENERATOR)


def test_every_difference_of_shape_is_named(tmp_path):
    start = start_of(load_model_folder(saved(tmp_path, DISCRIMINATOR)), DISCRIMINATOR)
    check_shape(start, CONFIG, DISCRIMINATOR)
    other = CONFIG.replace(num_hidden_layers=5, intermediate_size=7)
    with pytest.raises(UserError, match=r"num_hidden_layers is 2 there and 5.*intermediate_size"):
        check_shape(start, other, DISCRIMINATOR)
    assert adopt(other, start.config) == CONFIG


def test_without_a_tokenizer_ids_are_taken_as_they_are(tmp_path):
    start = start_of(load_model_folder(saved(tmp_path, DISCRIMINATOR)), DISCRIMINATOR)
    fresh = random_params(CONFIG, DISCRIMINATOR, 1)
    encoder, head = fit(start, fresh["electra"], fresh[D_HEAD], Tokens(None, True), [])
    assert encoder is start.encoder and head is start.head
    larger = random_params(CONFIG.replace(vocab_size=61), DISCRIMINATOR, 1)
    with pytest.raises(UserError, match="has 60 tokens, this run's 61"):
        fit(start, larger["electra"], larger[D_HEAD], Tokens(None, True), [])
