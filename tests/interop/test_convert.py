"""`convert`: what becomes what, bit for bit, with a table; and what it refuses."""

import json

import numpy as np
import pytest
from interop import networks
from interop.networks import CONFIG, SMALL, saved

from electra_jax.config.model import PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.convert import convert, load_moments
from electra_jax.interop.formats.safetensors import read_safetensors
from electra_jax.interop.formats.tf1 import read_bundle
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_model_folder, save_pair
from electra_jax.modeling.trees import flatten

PAIRS = {
    "default/ckpt_with_slots": (4, 2),
    "default/ckpt_stripped": (4, 2),
    "e_eq_h/ckpt": (4, 4),
    "e_eq_hg/ckpt": (2, 2),
    "untied_gen_emb/ckpt": (4, 4),
    "tied_generator/ckpt": (4, 4),
    "uniform_generator/ckpt": (4, None),
    "mlm_baseline/ckpt": (4, None),
}


@pytest.mark.parametrize("case", PAIRS)
def test_tf1_to_hugging_face_and_back_is_bit_identical(oracles, tmp_path, case):
    source = oracles / "pretrain" / case
    heads, generator_heads = PAIRS[case]
    report = convert(
        source,
        tmp_path / "hf",
        num_attention_heads=heads,
        generator_num_attention_heads=generator_heads,
    )
    two = generator_heads is not None
    assert (tmp_path / "hf/generator/config.json").exists() == two
    assert (tmp_path / "hf/config.json").exists() != two
    convert(tmp_path / "hf", tmp_path / "tf1", to="tf1")
    before, after = read_bundle(source), read_bundle(tmp_path / "tf1")
    trainable = {
        name
        for name in before
        if "/adam_" not in name and name != "generator_predictions/temperature"
    }
    assert set(after) == trainable
    assert all(
        (before[n].dtype, before[n].shape, before[n].tobytes())
        == (after[n].dtype, after[n].shape, after[n].tobytes())
        for n in trainable
    )
    assert int(after["global_step"]) == int(before["global_step"])
    ignored = [name for name in before if name not in trainable]
    assert sorted(report.ignored) == sorted(ignored)
    again = load_model_folder(tmp_path / "tf1")
    assert again.notes == []  # heads are read from the configurations beside the bundle


def test_adams_moments_travel_on_request(oracles, tmp_path):
    source = oracles / "pretrain/default/ckpt_with_slots"
    convert(source, tmp_path / "tf1", to="tf1", num_attention_heads=4, slots=True)
    before, after = read_bundle(source), read_bundle(tmp_path / "tf1")
    assert {n: v.tobytes() for n, v in before.items()} == {n: v.tobytes() for n, v in after.items()}
    moments, params = load_moments(tmp_path / "tf1"), load_model_folder(tmp_path / "tf1").params
    assert flatten(moments["adam_v"]).keys() == flatten(params).keys()
    stripped = oracles / "pretrain/default/ckpt_stripped"
    assert load_moments(stripped) is None
    with pytest.raises(UserError, match="no optimizer moments"):
        convert(stripped, tmp_path / "other", to="tf1", slots=True)


def test_the_table_counts_tensors_and_parameters_and_names_what_is_ignored(oracles, tmp_path):
    source = oracles / "pretrain/default/ckpt_stripped"
    report = convert(
        source, tmp_path / "hf", num_attention_heads=4, generator_num_attention_heads=2
    )
    written = read_safetensors(tmp_path / "hf/discriminator/model.safetensors")
    discriminator = next(n for n in report.networks if n.kind == "discriminator")
    assert discriminator.tensors == len(written)
    assert discriminator.parameters == sum(v.size for v in written.values())
    text = str(report)
    assert "ignored: generator_predictions/temperature" in text
    assert f"{discriminator.parameters:,}" in text and "generator" in text
    step = json.loads((tmp_path / "hf/generator/config.json").read_text())["global_step"]
    assert step == 4000000


def test_verified_conversions_measure_the_logits(oracles, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    source = oracles / "pretrain/default/ckpt_stripped"
    report = convert(
        source,
        tmp_path / "hf",
        num_attention_heads=4,
        generator_num_attention_heads=2,
        verify=True,
    )
    assert len(report.networks) == 2
    assert all(0 <= n.difference <= 1e-5 and n.largest > 0.1 for n in report.networks)
    back = convert(tmp_path / "hf", tmp_path / "tf1", to="tf1", verify=True)
    assert all(0 <= n.difference <= 1e-5 and n.largest > 0.1 for n in back.networks)
    assert "against transformers" in str(back)


def test_a_pair_of_modern_blocks_has_no_tf1_form(tmp_path):
    config = CONFIG.replace(block="modern", embedding_size=32)
    params = networks.random_params(PairConfig(config, None), "pair")
    save_pair(tmp_path / "hf", PairConfig(config, None), params, None)
    with pytest.raises(UserError, match="modern blocks do not exist"):
        convert(tmp_path / "hf", tmp_path / "tf1", to="tf1")
    assert not (tmp_path / "tf1").exists()


def test_labels_and_unknown_settings_of_a_fine_tuned_folder_are_kept(tmp_path):
    config = CONFIG.replace(hidden_dropout_prob=0.25)
    params = networks.random_params(config, "sequence_classification")
    settings = {
        "id2label": {"0": "bad", "1": "good"},
        "label2id": {"bad": 0, "good": 1},
        "problem_type": "single_label_classification",
        "classifier_dropout": 0.5,
        "task_specific_params": {"a": 1},
    }
    save_model_folder(tmp_path / "a", "sequence_classification", config, params, None, settings)
    convert(tmp_path / "a", tmp_path / "b")
    first, second = (json.loads((tmp_path / x / "config.json").read_text()) for x in "ab")
    assert first == second
    loaded = load_model_folder(tmp_path / "b")
    assert loaded.id2label == {0: "bad", 1: "good"} and loaded.label2id == {"bad": 0, "good": 1}
    assert loaded.problem_type == "single_label_classification" and loaded.dropout_rate == 0.5
    assert loaded.config == config
    assert (tmp_path / "a/model.safetensors").read_bytes() == (
        tmp_path / "b/model.safetensors"
    ).read_bytes()


def test_an_encoder_taken_out_of_a_fine_tuned_network_keeps_no_labels(tmp_path):
    folder = saved(tmp_path / "model", "token_classification", problem_type="x")
    convert(folder, tmp_path / "encoder", encoder_only=True)
    stated = json.loads((tmp_path / "encoder/config.json").read_text())
    assert stated["architectures"] == ["ElectraModel"]
    assert not {"id2label", "label2id", "problem_type"} & set(stated)
    before, after = (load_model_folder(p).params["electra"] for p in (folder, tmp_path / "encoder"))
    before, after = flatten(before), flatten(after)
    assert all(np.array_equal(before[n], after[n]) for n in before)


def test_nothing_is_written_where_something_is_wrong(tmp_path):
    folder = saved(tmp_path / "model")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    with pytest.raises(UserError, match="exists and is not empty"):
        convert(folder, tmp_path / "full")
    with pytest.raises(UserError, match="no such folder or checkpoint"):
        convert(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(UserError, match="--to=onnx: choose one of hf, tf1"):
        convert(folder, tmp_path / "out", to="onnx")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["full", "model"]
    assert [f.name for f in (tmp_path / "full").iterdir()] == ["file"]


def test_a_source_s_card_goes_with_the_same_network_and_its_license_with_another(tmp_path):
    folder = saved(tmp_path / "model", "token_classification")
    card = "---\nlicense: mit\nlanguage: fr\n---\n# Mine\n"
    (folder / "README.md").write_text(card)
    convert(folder, tmp_path / "same")
    assert (tmp_path / "same/README.md").read_text() == card
    convert(folder, tmp_path / "encoder", encoder_only=True)
    text = (tmp_path / "encoder/README.md").read_text()
    assert text.startswith("---\nlanguage: fr\nlicense: mit\n") and "ElectraModel" in text
    assert "| converted from | model |" in text


def test_each_network_of_a_pair_has_a_card_of_its_own(tmp_path):
    pair = PairConfig(CONFIG, SMALL)
    save_pair(tmp_path / "a", pair, networks.random_params(pair, "pair"), None)
    (tmp_path / "a/discriminator/README.md").write_text("---\nlicense: mit\n---\n")
    convert(tmp_path / "a", tmp_path / "b")
    for kind in ("discriminator", "generator"):
        text = (tmp_path / "b" / kind / "README.md").read_text()
        assert f"# ELECTRA {kind}" in text and "license: mit" in text


def test_a_verified_difference_stops_the_conversion(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    folder = saved(tmp_path / "model")
    # The heads given here are not those that the weights were trained with, as config.json says.
    with pytest.raises(UserError, match="number of attention heads"):
        convert(folder, tmp_path / "tf1", to="tf1", num_attention_heads=2, verify=True)
    assert not (tmp_path / "tf1").exists()


def test_from_bundle_to_bundle_there_is_nothing_to_verify_with(tmp_path):
    saved(tmp_path / "model")
    assert not convert(tmp_path / "model", tmp_path / "a", to="tf1").unmeasured
    report = convert(tmp_path / "a", tmp_path / "b", to="tf1", verify=True, num_attention_heads=4)
    assert list(report.unmeasured) == ["discriminator"]
    assert "no folder that transformers reads" in report.unmeasured["discriminator"]
