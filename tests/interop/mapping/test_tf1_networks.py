"""The reference's own checkpoints: loaded, compared with its recorded outputs, and written back bit
for bit.
"""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.interop.formats.tf1 import read_bundle, write_bundle
from electra_jax.interop.mapping.pair import join_pair, split_pair
from electra_jax.interop.mapping.tf1_networks import moments_from_tf1, tf1_from_tree, tree_from_tf1
from electra_jax.modeling.electra import Electra, Inputs, MaskedLM, padding_mask
from electra_jax.modeling.trees import flatten

CASES = {
    "default/ckpt_with_slots": "embeddings",
    "default/ckpt_stripped": "embeddings",
    "e_eq_h/ckpt": "embeddings",
    "e_eq_hg/ckpt": "embeddings",
    "untied_gen_emb/ckpt": "none",
    "mlm_baseline/ckpt": None,
    "tied_generator/ckpt": "all",
    "uniform_generator/ckpt": "embeddings",
}


def _load(oracles, case):
    """(tensors, what was made of them, recorded forward pass) of one pretraining case."""
    folder = oracles / "pretrain" / case.split("/")[0]
    config = json.loads((folder / "config.json").read_text())
    tensors = read_bundle(oracles / "pretrain" / case)
    source = tree_from_tf1(
        tensors,
        discriminator=config["discriminator_or_main_bert_config"],
        generator=config["generator_bert_config"],
        generator_num_attention_heads=config["generator_num_attention_heads"],
    )
    return tensors, source, np.load(folder / "forward.npz")


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_recorded_ones(oracles, case):
    _, source, recorded = _load(oracles, case)
    mask = padding_mask(jnp.asarray(recorded["b0/input_mask"]))
    segments, positions = recorded["b0/segment_ids"], recorded["b0/masked_lm_positions"]
    masked = Inputs(recorded["b0/masked_input_ids"], mask, segments)
    variables = {"params": source.params}
    if CASES[case] is None:
        assert source.kind == "generator"
        logits = MaskedLM(source.config).apply(variables, masked, positions)
        np.testing.assert_allclose(logits, recorded["b0/gen_logits"], rtol=1e-5, atol=1e-5)
        return
    assert source.kind == "pair" and source.config.sharing == CASES[case]
    model = Electra(source.config)
    if source.config.generator is not None:
        logits = model.apply(variables, masked, positions, method="generator_logits")
        np.testing.assert_allclose(logits, recorded["b0/gen_logits"], rtol=1e-5, atol=1e-5)
    else:
        assert case.startswith("uniform_generator")
    corrupted = Inputs(recorded["b0/corrupted_input_ids"], mask, segments)
    logits = model.apply(variables, corrupted, method="discriminator_logits")
    np.testing.assert_allclose(logits, recorded["b0/disc_logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_written_back_is_bit_identical(oracles, tmp_path, case):
    tensors, source, _ = _load(oracles, case)
    written = tf1_from_tree(
        source.config,
        source.params,
        kind=source.kind,
        global_step=source.global_step,
        moments=moments_from_tf1(tensors, source),
    )
    write_bundle(tmp_path / "model.ckpt-0", written)
    back = read_bundle(tmp_path)
    lost = {"generator_predictions/temperature"} if "stripped" in case else set()
    assert set(tensors) - set(back) == lost and set(back) <= set(tensors)
    assert all(
        (back[n].dtype, back[n].shape, back[n].tobytes())
        == (tensors[n].dtype, tensors[n].shape, tensors[n].tobytes())
        for n in back
    )


@pytest.mark.parametrize("case", [case for case, sharing in CASES.items() if sharing])
def test_a_pair_split_and_joined_is_the_same_pair(oracles, case):
    _, source, _ = _load(oracles, case)
    parts = split_pair(source.config, source.params)
    config, params = join_pair(parts["discriminator"], parts["generator"])
    assert config == source.config
    before, after = flatten(source.params), flatten(params)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_moments_have_the_structure_of_the_parameters_and_the_step_is_read(oracles):
    tensors, source, _ = _load(oracles, "default/ckpt_with_slots")
    moments = moments_from_tf1(tensors, source)
    assert source.global_step == 4
    for name in ("adam_m", "adam_v"):
        shapes = {name: value.shape for name, value in flatten(moments[name]).items()}
        assert shapes == {name: value.shape for name, value in flatten(source.params).items()}
    name = "generator/encoder/layer_1/attention/self/value/kernel"
    stacked = moments["adam_v"]["generator"]["encoder"]["layer"]["attention"]["self"]["value"]
    assert np.array_equal(stacked["kernel"][1], tensors[name + "/adam_v"])


def test_a_stripped_checkpoint_has_no_moments_and_names_what_it_ignores(oracles):
    tensors, source, _ = _load(oracles, "default/ckpt_stripped")
    assert moments_from_tf1(tensors, source) is None
    assert source.global_step == 4000000
    assert source.ignored == ["generator_predictions/temperature"]


def test_a_missing_tensor_is_named(oracles):
    tensors = read_bundle(oracles / "pretrain/default/ckpt_stripped")
    del tensors["electra/encoder/layer_1/attention/self/key/kernel"]
    with pytest.raises(UserError, match="layer_1/attention/self/key/kernel"):
        tree_from_tf1(tensors)


def test_a_tensor_without_a_place_is_named(oracles):
    tensors = read_bundle(oracles / "pretrain/default/ckpt_stripped")
    tensors["electra/pooler/dense/kernel"] = np.zeros((32, 32), np.float32)
    with pytest.raises(UserError, match="electra/pooler/dense/kernel"):
        tree_from_tf1(tensors)


def test_without_a_configuration_the_assumed_heads_are_noted(oracles):
    source = tree_from_tf1(read_bundle(oracles / "pretrain/default/ckpt_stripped"))
    assert source.config.discriminator.num_attention_heads == 1
    assert any("--num_attention_heads" in note for note in source.notes)
    assert any("--generator_num_attention_heads" in note for note in source.notes)
