"""The fields of pretraining: whole, and read as typed settings or refused by name."""

import dataclasses
from typing import Any

import pytest
from config.changed import changed

from electra_jax.config.fields import absent_values, field, rows
from electra_jax.config.pretraining import PretrainSettings, pretrain_settings, read_pretrain
from electra_jax.config_file import get_config, load_config
from electra_jax.errors import UserError
from electra_jax.objectives.table import OBJECTIVES, fields_of

CONFIG, _ = load_config(["--config=configs/pretrain.py:tiny"])


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_every_field_says_what_it_means_in_one_line(objective):
    for row in rows(pretrain_settings(objective.Settings)):
        assert 0 < len(row.meaning) <= 140 and "\n" not in row.meaning, row


def test_a_shipped_configuration_is_read_as_typed_settings():
    given = read_pretrain(CONFIG)
    assert isinstance(given, PretrainSettings)
    assert given.train.steps == 2600 and given.model.block == "modern"
    assert given.objective["initial_temperature"] == 2.0 and given.watch.after_tokens == 2e6


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.log_every", ..., "train.log_every is missing"),
        ("mesh", ..., "mesh is missing.*valid: size, resume"),
        ("train.log_evry", 3, "did you mean train.log_every"),
        ("objective.name", ..., "objective.name is missing"),
        ("model.remat", "some", "model.remat='some': choose one of none"),
        ("train.steps", 1.5, "train.steps=1.5: must be of type int"),
        ("init_vocabulary", "some", "^init_vocabulary='some': choose"),
    ],
)
def test_what_is_missing_unknown_or_wrong_is_one_error(key, value, message):
    with pytest.raises(UserError, match=message):
        read_pretrain(changed(CONFIG, key, value))


def test_an_objective_has_fields_of_its_own():
    @dataclasses.dataclass(frozen=True)
    class Own:
        window: Any = field(3, "Positions.", when_absent=0)

    whole = pretrain_settings(Own)
    assert whole is pretrain_settings(Own)
    keys = {row.key for row in rows(whole) if row.key.startswith("objective.")}
    assert keys == {"objective.name", "objective.window"}
    assert absent_values(whole) == {**absent_values(PretrainSettings), "objective.window": 0}
    names = {row.key for row in rows(fields_of(CONFIG))}
    assert "objective.mask_prob" in names and "objective.window" not in names


def test_a_configuration_of_the_other_verb_is_recognised():
    with pytest.raises(UserError, match=r"one of finetune .*such as pretrain:"):
        read_pretrain(get_config("finetune:sst2"))
