"""Fine-tuned checkpoints of the reference: encoder and heads give its numbers, and travel
without a random head.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop import networks
from interop.networks import CONFIG

from electra_jax.errors import UserError
from electra_jax.interop.convert import convert
from electra_jax.interop.formats.tf1 import read_bundle
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_model_folder
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.modeling.trees import flatten

CASES = (
    "classification",
    "regression",
    "tagging",
    "multitask",
    "qa_joint",
    "qa_independent_start_pooled",
    "qa_independent_cls_answerable",
    "qa_independent_no_answerable",
)


def _dense(head, x):
    return x @ head["kernel"] + head["bias"]


def _gelu(x):
    return np.asarray(jax.nn.gelu(jnp.asarray(x), approximate=False))


def _joint_end_logits(heads, hidden, recorded):
    """The reference's end logits given the gold start: dense(gelu(dense([h_start; h_i])))."""
    start = recorded["b0/squad_start_positions"]
    at_start = hidden[np.arange(len(start)), start][:, None]
    both = np.concatenate([np.broadcast_to(at_start, hidden.shape), hidden], -1)
    return _dense(heads["dense_1"], _gelu(_dense(heads["qa_hidden"], both)))[..., 0]


def _context(recorded):
    """Where an answer may stand: the second segment and [CLS]."""
    mask = recorded["b0/input_mask"] * recorded["b0/segment_ids"]
    mask[:, 0] = 1
    return mask > 0


def _read_by(task, hidden, recorded):
    """What the first dense layer of a task reads: [CLS], the first piece of each word, or all."""
    if task == "chunk":
        return np.take_along_axis(hidden, recorded["b0/chunk_labeled_positions"][..., None], 1)
    return hidden if task.startswith("squad") else hidden[:, 0]


@pytest.mark.parametrize("case", CASES)
def test_the_recorded_numbers_come_out(oracles, case):
    folder = oracles / "finetune" / case
    loaded = load_model_folder(folder / "ckpt", num_attention_heads=3)
    recorded = np.load(folder / "outputs.npz")
    assert loaded.kind == "reference" and loaded.global_step == 0
    assert set(loaded.task_heads) == set(json.loads((folder / "config.json").read_text())["tasks"])
    inputs = Inputs(
        recorded["b0/input_ids"],
        padding_mask(jnp.asarray(recorded["b0/input_mask"])),
        recorded["b0/segment_ids"],
    )
    encoder = {"electra": loaded.params["electra"]}
    hidden = np.asarray(loaded.model.apply({"params": encoder}, inputs))
    expected = recorded["b0/train/sequence_output"]
    np.testing.assert_allclose(hidden, expected, rtol=1e-5, atol=1e-5)
    for task, heads in loaded.params["task_specific"].items():
        found = _dense(heads["dense"], _read_by(task, hidden, recorded))
        if task in ("mnli", "chunk"):
            expected = recorded[f"b0/train/{task}/logits"]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)
        elif task == "sts":
            expected = recorded["b0/train/sts/predictions"]
            np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5, atol=1e-5)
        else:
            context = _context(recorded)
            logits = recorded[f"b0/train/{task}/start_logits"]
            np.testing.assert_allclose(found[context][:, 0], logits[context], rtol=1e-5, atol=2e-5)
            if case == "qa_joint":
                ends = _joint_end_logits(heads, hidden, recorded)
                logits = recorded["b0/train/squad/end_logits"]
                np.testing.assert_allclose(ends[context], logits[context], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["qa_joint", "multitask"])
def test_there_and_back_is_bit_identical(oracles, tmp_path, case):
    source = oracles / "finetune" / case / "ckpt"
    convert(source, tmp_path / "folder", num_attention_heads=3)
    report = convert(tmp_path / "folder", tmp_path / "bundle", to="tf1")
    before, after = read_bundle(source), read_bundle(tmp_path / "bundle")
    assert before.keys() == after.keys()
    assert all(
        (before[n].dtype, before[n].shape, before[n].tobytes())
        == (after[n].dtype, after[n].shape, after[n].tobytes())
        for n in before
    )
    assert report.networks[0].tensors == len(before) - 1  # global_step is no tensor of a network


def _reference_model(folder):
    rng = np.random.default_rng(5)
    head = {
        "kernel": rng.normal(size=(32, 3)).astype(np.float32),
        "bias": rng.normal(size=3).astype(np.float32),
    }
    params = {
        **networks.random_params(CONFIG, "encoder"),
        "task_specific": {"mnli": {"dense": head}},
    }
    save_model_folder(folder, "reference", CONFIG, params, None, {"tasks": ["mnli"]})
    return params


def test_a_reference_head_comes_back_and_its_encoder_is_a_plain_electra_model(tmp_path):
    params = _reference_model(tmp_path / "model")
    loaded = load_model_folder(tmp_path / "model")
    assert (loaded.kind, loaded.config) == ("reference", CONFIG)
    assert loaded.task_heads == {"mnli": ["dense"]} and loaded.settings["tasks"] == ["mnli"]
    before, after = flatten(params), flatten(loaded.params)
    assert before.keys() == after.keys()
    assert all(before[n].tobytes() == after[n].tobytes() for n in before)
    encoder = load_model_folder(tmp_path / "model/encoder")
    assert (encoder.kind, encoder.config) == ("encoder", CONFIG)


def test_transformers_refuses_a_reference_head_instead_of_drawing_a_random_one(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    _reference_model(tmp_path / "model")
    with pytest.raises((ValueError, KeyError), match="electra_jax"):
        transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        transformers.ElectraForSequenceClassification.from_pretrained(tmp_path / "model")
    _, report = transformers.AutoModel.from_pretrained(
        tmp_path / "model/encoder", output_loading_info=True
    )
    assert not any(report.values()), report


def test_a_masked_lm_head_that_transformers_does_not_compute_is_kept_from_it(tmp_path):
    config = CONFIG.replace(hidden_act="relu")
    params = networks.random_params(config, "generator")
    save_model_folder(tmp_path / "model", "generator", config, params, None)
    assert json.loads((tmp_path / "model/config.json").read_text())["model_type"] == "electra_jax"
    loaded = load_model_folder(tmp_path / "model")
    assert (loaded.kind, loaded.config) == ("generator", config)
    before, after = flatten(params), flatten(loaded.params)
    assert {n: v.tobytes() for n, v in before.items()} == {n: v.tobytes() for n, v in after.items()}


def test_a_hugging_face_head_is_not_written_as_tf1(tmp_path):
    params = networks.random_params(CONFIG, "question_answering")
    save_model_folder(tmp_path / "model", "question_answering", CONFIG, params, None)
    with pytest.raises(UserError, match="--encoder_only"):
        convert(tmp_path / "model", tmp_path / "bundle", to="tf1")
    assert [f.name for f in tmp_path.iterdir()] == ["model"]
    report = convert(tmp_path / "model", tmp_path / "bundle", to="tf1", encoder_only=True)
    names = set(read_bundle(tmp_path / "bundle"))
    assert names and all(name.startswith("electra/") for name in names)
    assert report.networks[0].tensors == len(names)
