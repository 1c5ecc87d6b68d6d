"""Scores of texts: each method against the definition, a token at a time."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from interop.networks import random_params

from electra_jax.config.model import ElectricConfig
from electra_jax.errors import UserError
from electra_jax.inference import scorer as module
from electra_jax.inference.model import load
from electra_jax.inference.scorer import Scorer
from electra_jax.interop.save import save_model_folder, save_pair

PAIR = Path(__file__).resolve().parents[1] / "training" / "b199300" / "pair" / "model"
TEXTS = ["the old river", "a", "stone walks under the quiet winter garden and the sailor", "river"]


@pytest.fixture(scope="module")
def pair():
    return load(PAIR)


@pytest.fixture(scope="module")
def electric(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("electric")
    config = ElectricConfig(pair.config.discriminator, pair.config.generator, pair.config.sharing)
    save_pair(folder, config, random_params(config, "pair"), PAIR / "discriminator")
    return folder


def inner(model, text):
    """(ids of [CLS] … [SEP], the places between)."""
    ids = model.tokenizer([text]).input_ids[0]
    return ids, range(1, len(ids) - 1)


def test_a_masked_language_model_reads_a_copy_for_each_token(pair):
    model = pair.generator
    found = Scorer(model).scores(TEXTS)
    for text, score in zip(TEXTS, found, strict=True):
        ids, places = inner(model, text)
        expected = 0.0
        for at in places:
            masked = np.array(ids)
            masked[at] = model.tokenizer.special_ids.mask
            logits = np.asarray(model({"input_ids": masked[None]}).logits, np.float64)[0, at]
            expected += logits[ids[at]] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        assert score.score == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert score.tokens == len(places) > 0


def test_a_discriminator_gives_the_log_probability_of_originality(pair):
    found = Scorer(pair.discriminator).scores(TEXTS)
    for text, score in zip(TEXTS, found, strict=True):
        ids, places = inner(pair, text)
        logits = np.asarray(pair.discriminator({"input_ids": ids[None]}).logits, np.float64)[0]
        expected = -np.log1p(np.exp(logits[list(places)])).sum()
        assert score.score == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("inside", ["", "discriminator"])
def test_an_electric_model_gives_minus_its_energies(electric, inside):
    scorer = Scorer(electric / inside)
    assert scorer.settings["method"] == "energy" and "energies" in scorer.settings["score"]
    model = load(electric).discriminator
    for text, score in zip(TEXTS, scorer.scores(TEXTS), strict=True):
        ids, places = inner(model, text)
        energies = np.asarray(model({"input_ids": ids[None]}).logits, np.float64)[0]
        assert score.score == pytest.approx(-energies[list(places)].sum(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_a_score_depends_on_no_other_text(pair, kind, monkeypatch):
    scorer = Scorer(getattr(pair, kind))
    many = scorer.scores(TEXTS * 30)
    monkeypatch.setattr(module, "TOKENS", 16)
    alone = [scorer.scores([text])[0] for text in TEXTS]
    for number, score in enumerate(many):
        assert score.score == pytest.approx(alone[number % len(TEXTS)].score, rel=1e-5, abs=1e-5)


def test_long_texts_are_cut_at_the_network_s_positions_and_counted(pair, tmp_path, caplog):
    shape = dataclasses.replace(pair.config.discriminator, max_position_embeddings=10)
    save_model_folder(
        tmp_path, "discriminator", shape, random_params(shape, "discriminator"),
        PAIR / "discriminator",
    )  # fmt: skip
    scorer = Scorer(tmp_path)
    whole, long = scorer.scores(["a", "the river " * 40])
    assert whole.tokens < 8 and long.tokens == 8 and scorer.cut == 1
    scorer.warn()
    assert "texts cut at the 10 tokens" in caplog.text


def test_what_gives_no_probability_is_refused(pair, tmp_path):
    with pytest.raises(UserError, match="holds a pair: name its generator's folder"):
        Scorer(PAIR)
    shape = pair.config.discriminator
    save_model_folder(
        tmp_path, "encoder", shape, random_params(shape, "encoder"), PAIR / "discriminator"
    )
    with pytest.raises(UserError, match="holds a encoder, which gives no probability"):
        Scorer(tmp_path)
