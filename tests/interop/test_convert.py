"""`convert`: what becomes what, bit for bit, with a table; and what it refuses."""

import json

import numpy as np
import pytest
from interop import networks

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.convert import convert, load_slots
from electra_jax.interop.formats.safetensors import read_safetensors, write_safetensors
from electra_jax.interop.formats.tf1 import read_bundle
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_model_folder, save_pair
from electra_jax.modeling.trees import flatten

CONFIG = ElectraConfig(
    vocab_size=60,
    embedding_size=16,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
)
SMALL = CONFIG.replace(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
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
    slots, params = load_slots(tmp_path / "tf1"), load_model_folder(tmp_path / "tf1").params
    assert flatten(slots["adam_v"]).keys() == flatten(params).keys()
    stripped = oracles / "pretrain/default/ckpt_stripped"
    assert load_slots(stripped) is None
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


def _folder(path, kind="discriminator", config=CONFIG, **extra):
    save_model_folder(path, kind, config, networks.random_params(config, kind), None, extra)
    return path


def _edit(folder, change):
    tensors = read_safetensors(folder / "model.safetensors")
    change(tensors)
    write_safetensors(folder / "model.safetensors", tensors)


def test_the_folder_of_a_run_is_what_it_trained(tmp_path):
    pair = PairConfig(CONFIG, SMALL)
    save_pair(tmp_path / "run/model", pair, networks.random_params(pair, "pair"), None)
    (tmp_path / "run/config.json").write_text('{"train": {"steps": 3}}')  # the run's, not a model's
    loaded = load_model_folder(tmp_path / "run")
    assert (loaded.kind, loaded.config) == ("pair", pair)
    _folder(tmp_path / "baseline/model/generator", "generator")
    assert load_model_folder(tmp_path / "baseline").kind == "generator"


def test_an_encoder_taken_out_of_a_fine_tuned_network_keeps_no_labels(tmp_path):
    folder = _folder(tmp_path / "model", "token_classification", problem_type="x")
    convert(folder, tmp_path / "encoder", encoder_only=True)
    stated = json.loads((tmp_path / "encoder/config.json").read_text())
    assert stated["architectures"] == ["ElectraModel"]
    assert not {"id2label", "label2id", "problem_type"} & set(stated)
    before, after = (load_model_folder(p).params["electra"] for p in (folder, tmp_path / "encoder"))
    before, after = flatten(before), flatten(after)
    assert all(np.array_equal(before[n], after[n]) for n in before)


def test_a_generators_weights_called_a_discriminator_are_recognised(tmp_path):
    folder = _folder(tmp_path / "g", "generator", architectures=["ElectraForPreTraining"])
    with pytest.raises(UserError, match=r'tensors are a generator.*\["ElectraForMaskedLM"\]'):
        load_model_folder(folder)


def test_a_generator_in_the_discriminators_place_is_recognised(tmp_path):
    _folder(tmp_path / "pair/discriminator", "generator")
    with pytest.raises(UserError, match="holds a generator, expected a discriminator"):
        load_model_folder(tmp_path / "pair")


@pytest.mark.parametrize(
    "settings",
    [
        {"architectures": ["RobertaForMaskedLM"]},
        {"architectures": ["BertForSequenceClassification"]},
        {"architectures": None, "model_type": "albert"},
    ],
)
def test_an_unknown_architecture_is_refused_by_name(tmp_path, settings):
    named = (settings["architectures"] or [settings["model_type"]])[0]
    with pytest.raises(UserError, match=f"{named}.*not an architecture that can be read"):
        load_model_folder(_folder(tmp_path / "model", **settings))


def test_without_a_class_name_the_tensors_tell_the_kind(tmp_path):
    for kind in ("discriminator", "generator", "encoder", "question_answering"):
        folder = _folder(tmp_path / kind, kind, architectures=None)
        assert load_model_folder(folder).kind == kind


@pytest.mark.parametrize("kind", ["discriminator", "generator", "encoder"])
def test_without_a_config_json_shapes_tell_the_configuration(tmp_path, kind):
    config = CONFIG.replace(hidden_size=128, num_attention_heads=2)
    folder = _folder(tmp_path / "model", kind, config)
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
    folder = _folder(tmp_path / "model", config=CONFIG.replace(block="modern", embedding_size=32))
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"without a config\.json"):
        load_model_folder(folder)


def test_missing_and_unexpected_tensors_are_listed(tmp_path):
    folder = _folder(tmp_path / "model")
    name = "electra.encoder.layer.1.output.dense.weight"
    _edit(folder, lambda tensors: tensors.pop(name))
    with pytest.raises(UserError, match=f"1 missing tensor: {name}"):
        load_model_folder(folder)
    _edit(_folder(folder), lambda tensors: tensors.update({"electra.pooler.bias": np.zeros(3)}))
    with pytest.raises(UserError, match=r"no place in this network: electra\.pooler\.bias"):
        load_model_folder(folder)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tmp_path):
    folder = _folder(tmp_path / "model")
    name = "discriminator_predictions.dense.weight"
    _edit(folder, lambda tensors: tensors.update({name: np.zeros((32, 31), np.float32)}))
    with pytest.raises(
        UserError, match=r"dense/kernel is \[31, 32\], the network needs \[32, 32\]"
    ):
        load_model_folder(folder)


def test_numbers_that_are_not_finite_are_warned_of_by_name(tmp_path, caplog):
    folder = _folder(tmp_path / "model")

    def spoil(tensors):
        tensors["discriminator_predictions.dense.bias"][3] = np.nan

    _edit(folder, spoil)
    loaded = load_model_folder(folder)
    assert "NaN or infinite numbers in discriminator_predictions/dense/bias" in loaded.notes
    assert "discriminator_predictions/dense/bias" in caplog.text


def test_old_names_are_understood_and_buffers_ignored(tmp_path):
    folder = _folder(tmp_path / "model")
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
    folder = _folder(tmp_path / "model")

    def halve(tensors):
        for name in tensors:
            tensors[name] = tensors[name].astype(np.float16)

    _edit(folder, halve)
    loaded = load_model_folder(folder)
    assert {v.dtype for v in flatten(loaded.params).values()} == {np.dtype(np.float32)}
    assert any("float16" in note for note in loaded.notes)


def test_heads_come_from_the_configuration_the_flag_or_the_convention(tmp_path):
    wide = CONFIG.replace(hidden_size=128, num_attention_heads=4)
    folder = _folder(tmp_path / "model", config=wide)
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


@pytest.mark.parametrize(
    "settings",
    [
        {"is_decoder": True},
        {"position_embedding_type": "relative_key"},
        {"hidden_act": "silu"},
    ],
)
def test_what_is_not_computed_here_is_refused(tmp_path, settings):
    (field,) = settings
    with pytest.raises(UserError, match=field):
        load_model_folder(_folder(tmp_path / "model", **settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding-window"),
        ({"norm_bias": True}, "norm_bias"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rotary"),
    ],
)
def test_what_modern_blocks_do_not_compute_is_refused(tmp_path, settings, message):
    config = CONFIG.replace(block="modern", embedding_size=32)
    with pytest.raises(UserError, match=message):
        load_model_folder(_folder(tmp_path / "model", config=config, **settings))


def test_nothing_is_written_where_something_is_wrong(tmp_path):
    folder = _folder(tmp_path / "model")
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


def test_a_torn_bundle_is_refused(oracles, tmp_path):
    for file in (oracles / "pretrain/default/ckpt_stripped").iterdir():
        content = file.read_bytes()
        short = content[: len(content) // 2] if ".data-" in file.name else content
        (tmp_path / file.name).write_bytes(short)
    with pytest.raises(UserError, match="torn or missing"):
        load_model_folder(tmp_path)
    (tmp_path / "model.ckpt.index").write_bytes(b"")
    with pytest.raises(UserError, match="torn or missing"):
        load_model_folder(tmp_path)


def test_without_tensorflow_one_line_says_what_to_install(tmp_path, monkeypatch):
    import sys

    (tmp_path / "model.ckpt.index").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match="pip install tensorflow-cpu"):
        load_model_folder(tmp_path)


def test_a_verified_difference_stops_the_conversion(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    folder = _folder(tmp_path / "model")
    # The heads given here are not those that the weights were trained with, as config.json says.
    with pytest.raises(UserError, match="number of attention heads"):
        convert(folder, tmp_path / "tf1", to="tf1", num_attention_heads=2, verify=True)
    assert not (tmp_path / "tf1").exists()
