"""Layer-wise learning rates as the paper states them and as the reference computes them."""

import json
import re

import jax
import numpy as np
import pytest
from finetuning.tiny_task import CONFIG

from electra_jax.config.model import ElectraConfig, named_size
from electra_jax.errors import UserError
from electra_jax.finetuning.network import Network
from electra_jax.finetuning.recipe import (
    default_layerwise_decay,
    default_learning_rate,
    freeze_lowest,
    layerwise_multipliers,
)
from electra_jax.modeling.trees import flatten


def multipliers(config, decay, mode, kind="classification"):
    params = jax.eval_shape(Network(config, kind, 2).init, jax.random.key(0))
    return flatten(layerwise_multipliers(params, config, decay, mode)), flatten(params)


def by_part(found):
    """{embeddings, project, layer_i, head} of a table of multipliers."""
    parts = {}
    for name, value in found.items():
        if "/encoder/layer/" in name:
            for i, x in enumerate(np.asarray(value).reshape(-1)):
                parts.setdefault(f"layer_{i}", set()).add(round(float(x), 7))
        else:
            part = (
                "embeddings" if "/embeddings/" in name
                else "project" if "embeddings_project" in name
                else "head"
            )  # fmt: skip
            parts.setdefault(part, set()).add(round(float(value), 7))
    assert all(len(values) == 1 for values in parts.values())
    return {part: values.pop() for part, values in parts.items()}


def test_the_paper_s_rates():
    found = by_part(multipliers(CONFIG, 0.8, "paper")[0])
    assert found == pytest.approx(
        {"head": 1.0, "layer_1": 0.8, "layer_0": 0.64, "embeddings": 0.512, "project": 0.512}
    )


def test_the_reference_s_rates_are_one_layer_lower():
    found = by_part(multipliers(CONFIG, 0.8, "reference")[0])
    assert found == pytest.approx(
        {"head": 1.0, "layer_1": 0.64, "layer_0": 0.512, "embeddings": 0.4096, "project": 0.4096}
    )


def test_multipliers_have_the_shapes_of_stacked_layers():
    found, params = multipliers(CONFIG, 0.9, "paper")
    for name, value in found.items():
        np.broadcast_shapes(np.shape(value), params[name].shape)
        if "/encoder/layer/" in name:
            assert np.ndim(value) == len(params[name].shape)


def test_modern_blocks_have_rates_too():
    config = named_size("tiny").discriminator
    found, _ = multipliers(config, 0.5, "paper")
    assert np.asarray(found["electra/encoder/attention_norm/scale"]).reshape(-1).tolist() == [0.5]
    assert found["electra/encoder/final_norm/scale"] == 0.5
    assert found["electra/embeddings/word_embeddings"] == 0.125
    assert np.asarray(found["electra/encoder/layer/mlp/Wi/kernel"]).reshape(-1).tolist() == [
        0.25,
        0.5,
    ]


@pytest.mark.parametrize("mode", ["reference", "paper"])
def test_recorded_multipliers(oracles, mode):
    """The reference's table of learning rates; the paper's is the same, one layer up."""
    recorded = json.loads((oracles / "optimizer" / "layerwise_decay.json").read_text())
    by_key = recorded["multiplier_by_key"]
    layers = 1 + max(int(m[1]) for k in by_key if (m := re.search(r"layer_(\d+)", k)))
    decay = by_key[f"encoder/layer_{layers - 2}/"] / by_key[f"encoder/layer_{layers - 1}/"]
    config = CONFIG.replace(num_hidden_layers=layers)
    found = by_part(multipliers(config, decay, mode)[0])
    shift = 1.0 if mode == "reference" else decay
    for key, value in by_key.items():
        if match := re.search(r"layer_\d+", key):
            assert found[match[0]] * shift == pytest.approx(value, rel=1e-6)
        elif "embeddings" in key:
            part = "project" if "project" in key else "embeddings"
            assert found[part] * shift == pytest.approx(value, rel=1e-6)
        else:
            assert found["head"] == pytest.approx(value, rel=1e-6)


def test_lowest_layers_are_held():
    params = jax.eval_shape(Network(CONFIG, "classification", 2).init, jax.random.key(0))
    plain = layerwise_multipliers(params, CONFIG, 1.0, "paper")
    found = by_part(flatten(freeze_lowest(plain, params, CONFIG, 1)))
    assert found == {"head": 1, "layer_1": 1, "layer_0": 0, "embeddings": 0, "project": 0}
    assert freeze_lowest(plain, params, CONFIG, 0) is plain
    with pytest.raises(UserError, match="2 layers"):
        freeze_lowest(plain, params, CONFIG, 3)


def test_wrong_settings_are_named():
    params = {"head": np.zeros(2)}
    with pytest.raises(UserError, match="layerwise_mode"):
        layerwise_multipliers(params, CONFIG, 0.8, "papper")
    with pytest.raises(UserError, match="layerwise_decay"):
        layerwise_multipliers(params, CONFIG, 0.0, "paper")


def test_defaults_by_size():
    rates = {
        n: default_learning_rate(named_size(n).discriminator) for n in ("small", "base", "large")
    }
    assert rates == {"small": 3e-4, "base": 1e-4, "large": 5e-5}
    assert default_layerwise_decay(named_size("large").discriminator) == 0.9
    assert default_layerwise_decay(ElectraConfig()) == 0.8
    assert default_learning_rate(ElectraConfig(), "lora") == pytest.approx(2e-3)
    assert default_learning_rate(ElectraConfig(), "bitfit") == pytest.approx(3e-3)
    for method in ("lora", "bitfit"):
        assert default_layerwise_decay(ElectraConfig(), method) == 1.0
