"""config.json ⇄ `ElectraConfig`, and which network a folder holds."""

import pytest
from interop.networks import CONFIG, saved

from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder


def test_a_generators_weights_called_a_discriminator_are_recognised(tmp_path):
    folder = saved(tmp_path / "g", "generator", architectures=["ElectraForPreTraining"])
    with pytest.raises(UserError, match=r'tensors are a generator.*\["ElectraForMaskedLM"\]'):
        load_model_folder(folder)


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
        load_model_folder(saved(tmp_path / "model", **settings))


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
        load_model_folder(saved(tmp_path / "model", **settings))


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
        load_model_folder(saved(tmp_path / "model", config=config, **settings))
