"""Which layout a path has: a folder, two of them, a run, a checkpoint, or nothing."""

import pytest
from interop import networks
from interop.networks import CONFIG, SMALL, saved

from electra_jax.config.model import PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_pair


def test_the_folder_of_a_run_is_what_it_trained(tmp_path):
    pair = PairConfig(CONFIG, SMALL)
    save_pair(tmp_path / "run/model", pair, networks.random_params(pair, "pair"), None)
    (tmp_path / "run/config.json").write_text('{"train": {"steps": 3}}')  # the run's, not a model's
    loaded = load_model_folder(tmp_path / "run")
    assert (loaded.kind, loaded.config) == ("pair", pair)
    saved(tmp_path / "baseline/model/generator", "generator")
    assert load_model_folder(tmp_path / "baseline").kind == "generator"


def test_a_generator_in_the_discriminators_place_is_recognised(tmp_path):
    saved(tmp_path / "pair/discriminator", "generator")
    with pytest.raises(UserError, match="holds a generator, expected a discriminator"):
        load_model_folder(tmp_path / "pair")


def test_a_path_without_a_model_says_what_was_looked_for(tmp_path):
    with pytest.raises(UserError, match="nothing: no such folder or checkpoint"):
        load_model_folder(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no model here: expected config\.json with model\.safet"):
        load_model_folder(tmp_path)


def test_notes_are_logged_with_the_path(tmp_path, caplog):
    folder = saved(tmp_path / "model")
    (folder / "config.json").unlink()
    notes = load_model_folder(folder).notes
    assert notes and [r.getMessage() for r in caplog.records] == [f"{folder}: {n}" for n in notes]
