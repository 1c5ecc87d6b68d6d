"""Model folders: equal logits in `transformers`, and a bit-identical way there and back."""

import json

import numpy as np
import pytest
from interop import networks
from matrix import representative

import electra_jax
from electra_jax.errors import UserError
from electra_jax.interop.formats.model_card import ModelFacts
from electra_jax.interop.formats.safetensors import read_safetensors
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_model_folder
from electra_jax.modeling.trees import flatten

BERT = networks.CONFIG
MODERN = BERT.replace(block="modern", embedding_size=32, layer_norm_eps=1e-5, rope_theta=1000.0)
CLASSES = {
    ("bert", "discriminator"): "ElectraForPreTraining",
    ("bert", "generator"): "ElectraForMaskedLM",
    ("modern", "discriminator"): "ModernBertForTokenClassification",
    ("modern", "generator"): "ModernBertForMaskedLM",
}


@pytest.mark.parametrize("layers", representative((1, 3), 3))
@pytest.mark.parametrize("kind", ["discriminator", "generator"])
@pytest.mark.parametrize("block", ["bert", "modern"])
def test_an_exported_network_computes_the_same_in_transformers(tmp_path, block, kind, layers):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = (BERT if block == "bert" else MODERN).replace(num_hidden_layers=layers)
    params = networks.random_params(config, kind)
    save_model_folder(tmp_path / "model", kind, config, params, None)
    their_class = getattr(transformers, CLASSES[block, kind])
    theirs, report = their_class.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(report.values()), report

    batch = networks.random_batch(config)
    ids, mask, types = (torch.tensor(x).long() for x in batch)
    segments = {"token_type_ids": types} if block == "bert" else {}
    with torch.no_grad():
        expected = theirs.eval()(input_ids=ids, attention_mask=mask, **segments).logits.numpy()

    loaded = load_model_folder(tmp_path / "model")
    assert (loaded.kind, loaded.config) == (kind, config)
    arguments = [networks.inputs_of(config, batch)]
    if kind == "generator":
        arguments.append(networks.every_position(batch[0]))
    logits = np.asarray(loaded.model.apply({"params": loaded.params}, *arguments))
    real = batch[1] > 0
    expected = expected.reshape(logits.shape)
    np.testing.assert_allclose(logits[real], expected[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["discriminator", "generator"])
@pytest.mark.parametrize("config", [BERT, MODERN], ids=["bert", "modern"])
def test_a_folder_read_and_written_again_is_bit_identical(tmp_path, config, kind):
    params = networks.random_params(config, kind)
    save_model_folder(tmp_path / "a", kind, config, params, None, {"note": "kept"})
    loaded = electra_jax.load(tmp_path / "a")
    before, after = flatten(params), flatten(loaded.params)
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    save_model_folder(tmp_path / "b", loaded.kind, loaded.config, loaded.params, None)
    first = read_safetensors(tmp_path / "a/model.safetensors")
    second = read_safetensors(tmp_path / "b/model.safetensors")
    assert {n: v.tobytes() for n, v in first.items()} == {n: v.tobytes() for n, v in second.items()}
    assert json.loads((tmp_path / "a/config.json").read_text())["note"] == "kept"


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine.txt").write_text("keep")
    params = networks.random_params(BERT, "discriminator")
    with pytest.raises(UserError, match="not empty"):
        save_model_folder(tmp_path / "model", "discriminator", BERT, params, None)
    assert [f.name for f in tmp_path.iterdir()] == ["model"]
    assert [f.name for f in (tmp_path / "model").iterdir()] == ["mine.txt"]


def test_an_earlier_model_folder_is_replaced_whole_unless_that_is_refused(tmp_path):
    old, new = (networks.random_params(BERT, "discriminator", seed) for seed in (1, 2))
    folder = tmp_path / "model"
    for params in (old, new):
        save_model_folder(folder, "discriminator", BERT, params, None)
    kept = load_model_folder(folder).params["discriminator_predictions"]["dense"]["kernel"]
    assert np.array_equal(kept, new["discriminator_predictions"]["dense"]["kernel"])
    with pytest.raises(UserError, match="not empty"):
        save_model_folder(folder, "discriminator", BERT, old, None, overwrite=False)
    assert [f.name for f in tmp_path.iterdir()] == ["model"]


def test_a_failed_export_leaves_nothing(tmp_path):
    params = networks.random_params(BERT, "discriminator")
    with pytest.raises(UserError, match="no tokenizer files"):
        save_model_folder(tmp_path / "model", "discriminator", BERT, params, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_folder_has_a_card_and_a_person_s_is_kept(tmp_path):
    params = networks.random_params(BERT, "discriminator")
    folder = tmp_path / "model"
    save_model_folder(folder, "discriminator", BERT, params, None)
    size = sum(a.size for a in flatten(params).values())
    assert f"| parameters | {size:,} |" in (folder / "README.md").read_text()
    facts = ModelFacts(title="Second", license="mit")
    save_model_folder(folder, "discriminator", BERT, params, None, card=facts)
    text = (folder / "README.md").read_text()
    assert "# Second" in text and "license: mit" in text
    (folder / "README.md").write_text("# Mine\n")
    save_model_folder(folder, "discriminator", BERT, params, None, card=facts)
    assert (folder / "README.md").read_text() == "# Mine\n"


@pytest.mark.parametrize("config", [BERT, MODERN], ids=["bert", "modern"])
def test_a_discriminator_with_deberta_s_head_is_a_folder_of_our_own(tmp_path, config):
    config = config.replace(discriminator_head="deberta")
    params = networks.random_params(config, "discriminator")
    save_model_folder(tmp_path / "model", "discriminator", config, params, None)
    settings = json.loads((tmp_path / "model" / "config.json").read_text())
    assert settings["model_type"] == "electra_jax"
    loaded = load_model_folder(tmp_path / "model")
    assert loaded.kind == "discriminator" and loaded.config == config
    assert networks.equal(loaded.params, params)
    with pytest.raises(UserError, match=r"no deberta head of a discriminator: leave the head out"):
        electra_jax.convert(tmp_path / "model", tmp_path / "tf1", to="tf1")
