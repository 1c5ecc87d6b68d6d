"""The measured difference from `transformers`: tiny where the mapping is right, large where not."""

import sys

import numpy as np
import pytest
from interop import networks
from interop.networks import CONFIG, saved

from electra_jax.interop.verify import difference

MODERN = CONFIG.replace(block="modern", embedding_size=32)


@pytest.mark.parametrize(
    ("kind", "config"),
    [("discriminator", CONFIG), ("question_answering", CONFIG), ("generator", MODERN)],
)
def test_a_right_folder_differs_by_rounding_and_a_wrong_parameter_shows(tmp_path, kind, config):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    folder = saved(tmp_path / "model", kind, config)
    params = networks.random_params(config, kind)
    found, largest = difference(folder, kind, config, params)
    assert found <= 1e-5 * max(1, largest) and largest > 0.1
    table = params["electra"]["embeddings"]["word_embeddings"]
    params["electra"]["embeddings"]["word_embeddings"] = np.roll(table, 1, 0)
    wrong, _ = difference(folder, kind, config, params)
    assert wrong > 0.01


@pytest.mark.parametrize("absent", ["transformers", "torch"])
def test_without_transformers_or_torch_nothing_is_measured(tmp_path, monkeypatch, absent):
    if absent == "torch":
        pytest.importorskip("transformers")
        monkeypatch.setitem(sys.modules, "transformers.models.electra.modeling_electra", None)
    monkeypatch.setitem(sys.modules, absent, None)
    folder = saved(tmp_path / "model")
    params = networks.random_params(CONFIG, "discriminator")
    assert difference(folder, "discriminator", CONFIG, params) is None
