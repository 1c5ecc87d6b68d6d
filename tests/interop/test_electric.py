"""Electric's checkpoints: from TF1 to folders and back, in `transformers`, as a start."""

import dataclasses
import json

import numpy as np
import pytest
from interop.networks import CONFIG, SMALL, equal, inputs_of, random_batch, random_params, saved

from electra_jax.config.model import ElectricConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.inference.model import load
from electra_jax.interop.convert import convert
from electra_jax.interop.formats.tf1 import read_bundle, write_bundle
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.mapping.tf1_networks import tf1_from_tree
from electra_jax.interop.save import save_pair
from electra_jax.interop.warm_start import initial_config, initial_electric
from electra_jax.modeling.trees import flatten

ELECTRIC = ElectricConfig(CONFIG, SMALL)
OWN = ElectricConfig(CONFIG, SMALL, "none")
MODERN = CONFIG.replace(block="modern", embedding_size=32)
TALL = ElectricConfig(MODERN, MODERN.replace(num_hidden_layers=1))


def test_the_recorded_checkpoint_comes_back_bit_for_bit(oracles, tmp_path):
    source = oracles / "pretrain/electric/ckpt"
    report = convert(
        source, tmp_path / "hf", num_attention_heads=4, generator_num_attention_heads=2
    )
    assert [network.name for network in report.networks] == ["discriminator", "noise"]
    assert report.ignored == []
    convert(tmp_path / "hf", tmp_path / "tf1", to="tf1")
    before, after = read_bundle(source), read_bundle(tmp_path / "tf1")
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert (value.dtype, value.tobytes()) == (after[name].dtype, after[name].tobytes()), name
    assert sum(n.parameters for n in report.networks) + 1 == sum(v.size for v in before.values())


@pytest.mark.parametrize("config", [ELECTRIC, OWN, TALL], ids=["shared", "own", "modern"])
def test_folders_hold_both_networks(tmp_path, config):
    params = random_params(config, "pair")
    save_pair(tmp_path, config, params, None)
    loaded = load_model_folder(tmp_path)
    assert loaded.kind == "pair" and equal(loaded.params, params)
    assert dataclasses.replace(loaded.config, generator=config.generator) == config
    assert loaded.config.generator.num_attention_heads == config.generator.num_attention_heads
    with pytest.raises(UserError, match="read beside its discriminator: name"):
        load_model_folder(tmp_path / "noise")


def test_heads_come_from_the_files_beside_a_bundle(tmp_path):
    params = random_params(OWN, "pair")
    write_bundle(tmp_path / "a/model.ckpt", tf1_from_tree(OWN, params))
    loaded = load_model_folder(
        tmp_path / "a", num_attention_heads=4, generator_num_attention_heads=2
    )
    assert loaded.config == OWN and equal(loaded.params, params)
    convert(tmp_path / "a", tmp_path / "b", num_attention_heads=4, generator_num_attention_heads=2)
    convert(tmp_path / "b", tmp_path / "c", to="tf1")
    assert load_model_folder(tmp_path / "c").config == OWN


def test_half_of_a_checkpoint_is_refused(tmp_path):
    tensors = tf1_from_tree(ELECTRIC, random_params(ELECTRIC, "pair"))
    write_bundle(
        tmp_path / "model.ckpt",
        {k: v for k, v in tensors.items() if not k.startswith("discriminator_predictions")},
    )
    with pytest.raises(UserError, match="half of a pair is missing"):
        load_model_folder(tmp_path, num_attention_heads=4, generator_num_attention_heads=2)


def test_its_discriminator_is_transformers_s_with_energies_for_logits(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    params = random_params(ELECTRIC, "pair")
    save_pair(tmp_path, ELECTRIC, params, None)
    settings = json.loads((tmp_path / "discriminator/config.json").read_text())
    assert settings["objective"] == "electric"
    card = (tmp_path / "discriminator/README.md").read_text()
    assert "This is an Electric discriminator: an energy" in card
    theirs = transformers.ElectraForPreTraining.from_pretrained(tmp_path / "discriminator").eval()
    ids, mask, types = random_batch(CONFIG)
    with torch.no_grad():
        expected = theirs(*(torch.tensor(x.astype(np.int64)) for x in (ids, mask, types))).logits
    pair = load(tmp_path)
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    found = np.asarray(pair.discriminator(given).logits)
    np.testing.assert_allclose(found[mask > 0], expected.numpy()[mask > 0], atol=1e-4)
    with pytest.raises(UserError, match="its generator is two causal towers"):
        _ = pair.generator
    energies = pair.model.apply(
        {"params": params}, inputs_of(CONFIG, (ids, mask, types)), method="discriminator_logits"
    )
    np.testing.assert_allclose(found[mask > 0], np.asarray(energies)[mask > 0], atol=1e-5)


def test_a_run_starts_from_a_whole_electric_model(tmp_path):
    params = random_params(ELECTRIC, "pair")
    save_pair(tmp_path / "a", ELECTRIC, params, None)
    other = ElectricConfig(CONFIG.replace(num_hidden_layers=1), SMALL.replace(num_hidden_layers=2))
    config = initial_config(tmp_path / "a", None, other)
    assert config == ELECTRIC
    tree, lines, _ = initial_electric(tmp_path / "a", config, random_params(config, "pair", 1))
    assert equal(tree, params) and len(lines) == 2
    # Towers with tables of their own cannot start from towers without.
    config = initial_config(tmp_path / "a", None, OWN)
    fresh = random_params(config, "pair", 1)
    tree, lines, _ = initial_electric(tmp_path / "a", config, fresh)
    assert lines[-1] == "noise model: fresh"
    assert equal(tree["generator_ltr"], fresh["generator_ltr"])
    assert equal(tree["electra"], params["electra"])


def test_a_run_starts_from_electra_s_discriminator(tmp_path):
    folder = saved(tmp_path / "d", "discriminator")
    config = initial_config(folder, None, ELECTRIC)
    fresh = random_params(config, "pair", 1)
    tree, lines, _ = initial_electric(folder, config, fresh)
    assert lines[-1] == "noise model: fresh, but for what it shares"
    source = load_model_folder(folder).params
    changed = {k for k, v in flatten(tree).items() if not np.array_equal(v, flatten(fresh)[k])}
    assert changed == set(flatten(source))


def test_electra_can_start_from_an_electric_model(tmp_path):
    save_pair(tmp_path, ELECTRIC, random_params(ELECTRIC, "pair"), None)
    pair = PairConfig(CONFIG.replace(num_hidden_layers=1), SMALL)
    assert initial_config(tmp_path, None, pair) == PairConfig(CONFIG, SMALL)
