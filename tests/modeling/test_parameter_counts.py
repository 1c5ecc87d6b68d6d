"""Exact parameter counts of every named size, without allocating one."""

import functools
import json
import math

import jax
import jax.numpy as jnp
import pytest

from electra_jax.config.model import SIZES, ElectraConfig, PairConfig, generator_of, named_size
from electra_jax.modeling.electra import Electra, Inputs, MaskedLM, padding_mask
from electra_jax.modeling.trees import flatten

# backbone, its head, what only the generator has, its head (the word table is counted once).
COUNTS = {
    "tiny": (410_240, 16_641, 139_520, 17_536),
    "small": (13_483_008, 66_049, 608_064, 39_098),
    "small_pp": (13_483_008, 66_049, 9_510_144, 63_674),
    "base": (108_891_648, 591_361, 9_673_984, 229_434),
    "base_pp": (108_891_648, 591_361, 9_673_984, 229_434),
    "large": (334_092_288, 1_050_625, 19_216_640, 295_738),
    "large_1_75m": (334_092_288, 1_050_625, 19_216_640, 295_738),
}
PARTS = ("electra", "discriminator_predictions", "generator", "generator_predictions")


@functools.cache
def shapes_of(pair):
    """Shapes of a pair's parameters by name."""
    ids = jax.ShapeDtypeStruct((1, 8), jnp.int32)

    def init(key, ids):
        return Electra(pair).init(key, Inputs(ids, padding_mask(ids)), ids[:, :1])["params"]

    tree = jax.eval_shape(init, jax.random.key(0), ids)
    return {name: leaf.shape for name, leaf in flatten(tree).items()}


def count(shapes, prefix=""):
    return sum(math.prod(s) for name, s in shapes.items() if name.startswith(prefix))


def test_every_named_size_is_in_the_table():
    assert set(COUNTS) == set(SIZES)


@pytest.mark.parametrize("size", SIZES)
def test_parameter_counts(size):
    shapes = shapes_of(named_size(size))
    assert tuple(count(shapes, part + "/") for part in PARTS) == COUNTS[size]
    assert count(shapes) == sum(COUNTS[size])


@pytest.mark.parametrize(
    ("size", "published"),
    [
        ("small", 4_580_928),
        ("small_pp", 13_483_008),
        ("base", 33_511_168),
        ("large", 50_999_552),
    ],
)
def test_a_generator_with_the_embeddings_it_shares_has_the_published_count(size, published):
    shapes = shapes_of(named_size(size))
    assert count(shapes, "generator/") + count(shapes, "electra/embeddings/") == published


def test_untied_shared_and_single_networks_count_as_the_reference(oracles):
    models = json.loads((oracles / "tables/model_sizes_and_variables.json").read_text())["models"]
    small, base = named_size("small"), named_size("base")
    pairs = {
        "small_default": small,
        "base_generator_third": base,
        "small_untied_embeddings": PairConfig(
            small.discriminator, generator_of(small.discriminator, sharing="none"), "none"
        ),
    }
    assert set(pairs) == set(models)
    for name, pair in pairs.items():
        recorded = models[name]
        for ours, theirs in (
            (pair.discriminator, recorded["bert_config"]),
            (pair.generator, recorded["generator_config"]),
        ):
            assert {k: getattr(ours, k) for k in theirs} == theirs
        shapes = shapes_of(pair)
        assert count(shapes) == recorded["n_parameters"]
        stacked = [n for n in shapes if "/encoder/layer/" in n]
        layers = pair.discriminator.num_hidden_layers
        assert len(shapes) + (layers - 1) * len(stacked) == recorded["n_variables"]
        # The first layer of a stack is the reference's `layer_0`.
        ours = {
            _reference_name(n).replace("/layer/", "/layer_0/"): list(s[1:] if n in stacked else s)
            for n, s in shapes.items()
        }
        assert ours.items() <= recorded["variables"].items()


def _reference_name(name):
    if "LayerNorm" in name:
        name = name.replace("/scale", "/gamma").replace("/bias", "/beta")
    return name


def test_one_transformer_in_both_roles_adds_only_a_masked_lm_head():
    shape = named_size("small").discriminator
    shapes = shapes_of(PairConfig(shape, shape, "all"))
    assert count(shapes) == 13_483_008 + 66_049 + 63_674
    assert not any(name.startswith("generator/") for name in shapes)


def test_a_uniform_generator_has_no_parameters():
    shapes = shapes_of(PairConfig(named_size("small").discriminator, None))
    assert count(shapes) == 13_483_008 + 66_049


def test_equal_widths_need_no_projection():
    shapes = shapes_of(named_size("base"))
    assert not any(name.startswith("electra/embeddings_project") for name in shapes)
    assert shapes["generator/embeddings_project/kernel"] == (768, 256)


def test_an_untied_output_table_is_a_parameter_of_its_own():
    def total(**changes):
        ids = jnp.zeros((1, 4), jnp.int32)
        model = MaskedLM(ElectraConfig(**changes))
        tree = jax.eval_shape(
            lambda: model.init(jax.random.key(0), Inputs(ids, padding_mask(ids)), ids)
        )
        return sum(math.prod(x.shape) for x in jax.tree.leaves(tree["params"]))

    assert total(tie_word_embeddings=False) - total() == 30522 * 128
