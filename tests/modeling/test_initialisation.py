"""Fresh parameters are distributed as the reference's: truncated normal, Glorot, zeros and ones."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import quick_jit, tiny_config

from electra_jax.config.model import PairConfig, named_size
from electra_jax.modeling.electra import Electra, Inputs, padding_mask
from electra_jax.modeling.trees import flatten

# Of a normal distribution cut at two standard deviations.
CUT_STD, CUT_KURTOSIS = 0.87962566, -0.63256


def fresh(pair, seed=0):
    """A pair's parameters by name."""
    ids = jnp.zeros((1, 2), jnp.int32)

    @quick_jit
    def init(key):
        return Electra(pair).init(key, Inputs(ids, padding_mask(ids + 1)), ids[:, :1])["params"]

    return {n: np.asarray(x) for n, x in flatten(init(jax.random.key(seed))).items()}


@pytest.fixture(scope="module")
def small():
    """ELECTRA-Small's pair with two layers and the recording's vocabulary of 2,000."""
    pair = named_size("small")
    fewer = {"num_hidden_layers": 2, "vocab_size": 2000}
    return fresh(PairConfig(pair.discriminator.replace(**fewer), pair.generator.replace(**fewer)))


def moments(x):
    """mean, std, excess kurtosis in float64."""
    x = np.asarray(x, np.float64).ravel()
    std = x.std()
    kurtosis = ((x - x.mean()) ** 4).mean() / std**4 - 3 if std > 0 else None
    return x.mean(), std, kurtosis


def recorded_name(name, layer):
    if "LayerNorm" in name:
        name = name.replace("/scale", "/gamma").replace("/bias", "/beta")
    return name.replace("/layer/", f"/layer_{layer}/")


def test_every_variable_is_distributed_as_the_recorded_initialisations(small, oracles):
    recorded = json.loads((oracles / "tables/initialisation_statistics.json").read_text())
    compared = 0
    for name, value in small.items():
        stacked = "/encoder/layer/" in name
        for layer in range(2 if stacked else 1):
            ours = value[layer] if stacked else value
            want = recorded[recorded_name(name, layer)]
            assert list(ours.shape) == want["shape"], name
            compared += 1
            mean, std, kurtosis = moments(ours)
            if want["std"] == 0:
                assert ours.min() == ours.max() == want["mean"], name
                continue
            n, m = ours.size, want["n"]
            # Standard errors of a difference of two samples' moments.
            mean_error = want["std"] * np.sqrt(1 / n + 1 / m)
            std_error = want["std"] * np.sqrt((want["kurtosis"] + 2) / 4 * (1 / n + 1 / m))
            assert abs(mean - want["mean"]) < 4 * mean_error, name
            assert abs(std - want["std"]) < 4 * std_error, name
            assert abs(kurtosis - want["kurtosis"]) < 4 * np.sqrt(24 * (1 / n + 1 / m)), name
            if n > 10_000:
                np.testing.assert_allclose(
                    [ours.min(), ours.max()], [want["min"], want["max"]], rtol=0.01
                )
    assert compared == len(small) + sum("/encoder/layer/" in n for n in small)


def test_which_kernels_are_glorot(small):
    """Only the projections and the discriminator's last layer, as in the reference."""
    glorot = set()
    for name, value in small.items():
        if name.endswith("kernel"):
            limit = np.sqrt(6 / sum(value.shape[-2:]))
            cut = 2 * 0.02
            largest = np.abs(value).max()
            assert largest <= max(limit, cut)
            if largest > cut:
                glorot.add(name)
                np.testing.assert_allclose(value.std(), limit / np.sqrt(3), rtol=0.1)
    assert glorot == {
        "electra/embeddings_project/kernel",
        "generator/embeddings_project/kernel",
        "discriminator_predictions/dense_1/kernel",
    }


def test_truncated_normal_has_the_cut_distribution_s_moments(small):
    table = small["electra/embeddings/word_embeddings"]
    _, std, kurtosis = moments(table)
    np.testing.assert_allclose(std, CUT_STD * 0.02, rtol=0.005)
    np.testing.assert_allclose(kurtosis, CUT_KURTOSIS, atol=0.03)
    assert 0.0399 < np.abs(table).max() <= 0.04


def test_no_two_kernels_or_layers_begin_equal(small):
    seen = set()
    for name, value in small.items():
        if name.endswith(("kernel", "embeddings")):
            for part in value if "/encoder/layer/" in name else [value]:
                seen.add(part.ravel()[:8].tobytes())
    kernels = [n for n in small if n.endswith(("kernel", "embeddings"))]
    assert len(seen) == len(kernels) + sum("/encoder/layer/" in n for n in kernels)


def test_modern_output_projections_shrink_with_depth():
    shape = tiny_config("modern", num_hidden_layers=8, hidden_size=64, embedding_size=64)
    shape = dataclasses.replace(shape, intermediate_size=64, initializer_range=0.02)
    params = fresh(PairConfig(shape, None))
    layer = "electra/encoder/layer/"
    for name, scale in (
        (layer + "attention/Wqkv/kernel", 1.0),
        (layer + "mlp/Wi/kernel", 1.0),
        (layer + "attention/Wo/kernel", 1 / 4),  # 1 / √(2 · 8 layers)
        (layer + "mlp/Wo/kernel", 1 / 4),
    ):
        np.testing.assert_allclose(params[name].std(), CUT_STD * 0.02 * scale, rtol=0.02)
    assert not any("bias" in n for n in params if n.startswith("electra/"))
    assert all(np.all(x == 1) for n, x in params.items() if n.endswith("scale"))
