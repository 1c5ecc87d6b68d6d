"""`LoadedModel`: labels, dropout and tokenizer of a folder, and small functions of it."""

import dataclasses

import pytest
from interop import networks
from interop.networks import CONFIG, SMALL

from electra_jax.config.model import PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.loaded import (
    LoadedModel,
    encoder_of,
    expect_kind,
    single,
    stated_labels,
    task_heads_of,
)

MODEL = LoadedModel(kind="discriminator", config=CONFIG, params={"electra": {}}, source="here")
PAIR = dataclasses.replace(MODEL, kind="pair", config=PairConfig(CONFIG, SMALL))


def test_a_head_s_dropout_is_stated_or_the_network_s():
    assert MODEL.dropout_rate == CONFIG.hidden_dropout_prob
    for stated in (0.0, 0.4):
        settings = {"classifier_dropout": stated}
        assert dataclasses.replace(MODEL, settings=settings).dropout_rate == stated
    assert PAIR.dropout_rate == 0.0


def test_labels_are_numbered_by_id2label():
    assert stated_labels({"id2label": {"1": "b", "0": 7}}) == {1: "b", 0: "7"}
    assert stated_labels({}) is None and stated_labels({"id2label": {}}) is None
    assert MODEL.label2id is None
    named = dataclasses.replace(MODEL, id2label={0: "no", 1: "yes"})
    assert named.label2id == {"no": 0, "yes": 1}


def test_the_step_is_the_checkpoint_s_or_config_json_s(tmp_path):
    common = {"kind": "encoder", "config": CONFIG, "params": {}, "notes": []}
    settings = {"global_step": 5, "problem_type": "regression"}
    found = LoadedModel.of_folder(tmp_path, settings=settings, **common)
    assert (found.global_step, found.problem_type) == (5, "regression")
    given = LoadedModel.of_folder(tmp_path, settings=settings, global_step=0, **common)
    assert given.global_step == 0


def test_a_folder_s_own_tokenizer_goes_before_the_base_s(tmp_path):
    common = {"kind": "encoder", "config": CONFIG, "params": {}, "notes": []}
    other = tmp_path / "other"
    found = LoadedModel.of_folder(tmp_path, tokenizer_folder=other, **common)
    assert found.tokenizer_folder == other
    networks.tokenizer_folder(tmp_path / "own", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    found = LoadedModel.of_folder(tmp_path / "own", tokenizer_folder=other, **common)
    assert found.tokenizer_folder == tmp_path / "own" and found.tokenizer.vocab_size == 5
    with pytest.raises(UserError, match="here: no tokenizer files"):
        _ = MODEL.tokenizer


def test_one_network_and_the_kind_that_is_expected():
    assert single(MODEL) == (CONFIG, {"electra": {}}) and encoder_of(PAIR) == (CONFIG, {})
    with pytest.raises(UserError, match="holds a pair, expected one network"):
        single(PAIR)
    assert expect_kind(MODEL, "discriminator") is MODEL
    with pytest.raises(UserError, match=r"holds a discriminator, .* name the generator's folder"):
        expect_kind(MODEL, "generator")
    with pytest.raises(UserError, match=r"holds a discriminator, expected a encoder$"):
        expect_kind(MODEL, "encoder")


def test_task_heads_are_listed_by_their_kernels():
    dense = {"kernel": 0, "bias": 0}
    params = {"task_specific": {"b": {"dense": dense, "a": {"dense_1": dense}}, "a": {"x": dense}}}
    assert task_heads_of(params) == {"a": ["x"], "b": ["a/dense_1", "dense"]}
    assert task_heads_of({"electra": {}}) == {}
