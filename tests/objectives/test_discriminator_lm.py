"""Discriminators with a masked-LM head: their parameters, exports, costs and starts."""

import jax
import numpy as np
import pytest
from objectives.tiny import configured_objective, init_params

from electra_jax.config.model import named_size
from electra_jax.flops import train_flops_per_token
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_model_folder
from electra_jax.objectives.corruption import Masking
from electra_jax.objectives.table import OBJECTIVES


@pytest.mark.parametrize(
    ("name", "heads", "exported"),
    [
        ("replace_mlm", set(), {"generator", "masked_lm"}),
        (
            "all_tokens_mlm",
            {"discriminator_predictions"},
            {"discriminator", "generator", "masked_lm"},
        ),
    ],
)
def test_its_parameters_and_its_exports(name, heads, exported):
    objective = configured_objective(name)
    assert dict(objective.coefficients) == {"generator_loss": 1.0, "prediction_loss": 1.0}
    shapes = jax.eval_shape(objective.init, jax.random.key(0))[0]
    always = {"electra", "generator", "generator_predictions", "masked_lm_predictions"}
    assert {*shapes} == always | heads
    networks = objective.networks(shapes)
    assert {*networks} == exported
    own = networks["masked_lm"]
    assert own.kind == "generator" and own.config == objective.config.discriminator


def test_a_run_s_folder_without_a_discriminator_is_read_as_its_own_masked_lm(tmp_path):
    objective = configured_objective("replace_mlm")
    params = jax.device_get(init_params(objective, jax.random.key(0)))
    for name, network in objective.networks(params).items():
        save_model_folder(tmp_path / "model" / name, *network[:3], None)
    loaded = load_model_folder(tmp_path)
    assert loaded.kind == "generator" and loaded.config.hidden_size == 16
    np.testing.assert_array_equal(
        loaded.params["generator_predictions"]["dense"]["kernel"],
        params["masked_lm_predictions"]["dense"]["kernel"],
    )


@pytest.mark.parametrize(
    ("size", "length", "replace", "all_tokens"),
    [("base", 512, 0.03, 0.22), ("small", 128, 0.05, 0.35)],
)
def test_the_cost_beside_electra_s(size, length, replace, all_tokens):
    """The masked-LM head's products at 15 or 100 % of the positions."""
    pair = named_size(size)
    usual = train_flops_per_token(pair, length)
    for name, expected in (("replace_mlm", replace), ("all_tokens_mlm", all_tokens)):
        given = configured_objective(name)
        objective = OBJECTIVES[name](pair, given.settings, Masking(given.settings, None, length))
        assert objective.flops_per_token(length) / usual - 1 == pytest.approx(expected, abs=0.02)


def test_it_starts_from_a_discriminator_with_its_own_heads_alone(tmp_path):
    pair = configured_objective("electra")
    params = jax.device_get(init_params(pair, jax.random.key(1)))
    for name, network in pair.networks(params).items():
        save_model_folder(tmp_path / name, *network[:3], None)
    objective = configured_objective("replace_mlm")
    fresh = jax.device_get(init_params(objective, jax.random.key(0)))
    tree, lines, _ = objective.warm_start(str(tmp_path), None, fresh, None)
    assert {*tree} == {*fresh} and "fresh" in lines[-1]
    kernel = ("encoder", "layer", "output", "dense", "kernel")
    one, other = tree["electra"], params["electra"]
    for part in kernel:
        one, other = one[part], other[part]
    np.testing.assert_array_equal(one, other)
