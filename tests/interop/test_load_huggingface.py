"""One network of a Hugging Face folder: what is read, completed, noted and refused."""

import json

import numpy as np
import pytest
from interop import networks
from interop.networks import CONFIG, saved

from electra_jax.errors import UserError
from electra_jax.interop.formats.safetensors import read_safetensors, write_safetensors
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_model_folder
from electra_jax.modeling.trees import flatten


def _edit(folder, change):
    tensors = read_safetensors(folder / "model.safetensors")
    change(tensors)
    write_safetensors(folder / "model.safetensors", tensors)


def test_without_a_class_name_the_tensors_tell_the_kind(tmp_path):
    for kind in ("discriminator", "generator", "encoder", "question_answering"):
        folder = saved(tmp_path / kind, kind, architectures=None)
        assert load_model_folder(folder).kind == kind


@pytest.mark.parametrize("kind", ["discriminator", "generator", "encoder"])
def test_without_a_config_json_shapes_tell_the_configuration(tmp_path, kind):
    config = CONFIG.replace(hidden_size=128, num_attention_heads=2)
    folder = saved(tmp_path / "model", kind, config)
    expected = flatten(load_model_folder(folder).params)
    (folder / "config.json").unlink()
    for path in (folder, folder / "model.safetensors"):
        loaded = load_model_folder(path)
        assert (loaded.kind, loaded.config) == (kind, config)
        found = flatten(loaded.params)
        assert all(np.array_equal(found[n], expected[n]) for n in expected)
        assert any("no config.json" in note for note in loaded.notes)
        assert any("--num_attention_heads" in note for note in loaded.notes)


def test_modern_weights_need_their_config_json(tmp_path):
    folder = saved(tmp_path / "model", config=CONFIG.replace(block="modern", embedding_size=32))
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"without a config\.json"):
        load_model_folder(folder)


def test_missing_and_unexpected_tensors_are_listed(tmp_path):
    folder = saved(tmp_path / "model")
    name = "electra.encoder.layer.1.output.dense.weight"
    _edit(folder, lambda tensors: tensors.pop(name))
    with pytest.raises(UserError, match=f"1 missing tensor: {name}"):
        load_model_folder(folder)
    _edit(saved(folder), lambda tensors: tensors.update({"electra.pooler.bias": np.zeros(3)}))
    with pytest.raises(UserError, match=r"no place in this network: electra\.pooler\.bias"):
        load_model_folder(folder)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tmp_path):
    folder = saved(tmp_path / "model")
    name = "discriminator_predictions.dense.weight"
    _edit(folder, lambda tensors: tensors.update({name: np.zeros((32, 31), np.float32)}))
    with pytest.raises(
        UserError, match=r"dense/kernel is \[31, 32\], the network needs \[32, 32\]"
    ):
        load_model_folder(folder)


def test_numbers_that_are_not_finite_are_warned_of_by_name(tmp_path, caplog):
    folder = saved(tmp_path / "model")

    def spoil(tensors):
        tensors["discriminator_predictions.dense.bias"][3] = np.nan

    _edit(folder, spoil)
    loaded = load_model_folder(folder)
    assert "NaN or infinite numbers in discriminator_predictions/dense/bias" in loaded.notes
    assert "discriminator_predictions/dense/bias" in caplog.text


def test_old_names_are_understood_and_buffers_ignored(tmp_path):
    folder = saved(tmp_path / "model")
    expected = load_model_folder(folder).params

    def age(tensors):
        for name in [n for n in tensors if "LayerNorm" in n]:
            old = name.replace(".weight", ".gamma").replace(".bias", ".beta")
            tensors[old] = tensors.pop(name)
        tensors["electra.embeddings.position_ids"] = np.arange(40)[None]

    _edit(folder, age)
    loaded = load_model_folder(folder)
    assert loaded.ignored == ["electra.embeddings.position_ids"]
    before, after = flatten(expected), flatten(loaded.params)
    assert all(np.array_equal(before[n], after[n]) for n in before)


def test_half_precision_is_widened_and_noted(tmp_path):
    folder = saved(tmp_path / "model")

    def halve(tensors):
        for name in tensors:
            tensors[name] = tensors[name].astype(np.float16)

    _edit(folder, halve)
    loaded = load_model_folder(folder)
    assert {v.dtype for v in flatten(loaded.params).values()} == {np.dtype(np.float32)}
    assert any("float16" in note for note in loaded.notes)


def test_heads_come_from_the_configuration_the_flag_or_the_convention(tmp_path):
    wide = CONFIG.replace(hidden_size=128, num_attention_heads=4)
    folder = saved(tmp_path / "model", config=wide)
    assert load_model_folder(folder).config.num_attention_heads == 4
    assert load_model_folder(folder, num_attention_heads=8).config.num_attention_heads == 8
    settings = json.loads((folder / "config.json").read_text())
    del settings["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(settings))
    loaded = load_model_folder(folder)
    assert loaded.config.num_attention_heads == 2
    assert any("assuming 2" in note for note in loaded.notes)
    with pytest.raises(UserError, match="--num_attention_heads=3 does not divide"):
        load_model_folder(folder, num_attention_heads=3)


def test_a_configuration_that_contradicts_the_shapes_names_both(tmp_path):
    params = networks.random_params(CONFIG, "discriminator")
    folder = tmp_path / "model"
    save_model_folder(folder, "discriminator", CONFIG, params, None, {"hidden_size": 64})
    with pytest.raises(
        UserError, match=r"hidden_size is 64 in the configuration and 32 in the tensors"
    ):
        load_model_folder(folder)


def test_a_difference_of_embeddings_is_refused_without_the_sum(tmp_path):
    """DeBERTa's discriminators hold both; a file that holds the difference alone is no model."""
    folder = saved(tmp_path / "model")
    words = "electra.embeddings.word_embeddings"
    _edit(folder, lambda t: t.update({f"{words}._weight": 0 * t[f"{words}.weight"]}))
    assert load_model_folder(folder).ignored == [f"{words}._weight"]
    _edit(folder, lambda t: t.pop(f"{words}.weight"))
    with pytest.raises(UserError, match=r"word_embeddings\._weight: the difference .* without the"):
        load_model_folder(folder)
