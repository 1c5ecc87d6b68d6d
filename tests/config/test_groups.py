"""The declared groups: whole, and read as typed settings or refused by name."""

import copy
import dataclasses
from typing import Any

import pytest

from electra_jax.config.fields import absent_values, field, rows
from electra_jax.config.finetuning import FinetuneSettings, read_finetune
from electra_jax.config.pretraining import PretrainSettings, pretrain_settings, read_pretrain
from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.objectives.table import OBJECTIVES, fields_of

PRETRAIN, _ = load_config(["--config=configs/pretrain.py:tiny"])
FINETUNE, _ = load_config(["--config=configs/finetune.py:sst2"])


@pytest.mark.parametrize(
    "settings", [*(pretrain_settings(o.Settings) for o in OBJECTIVES.values()), FinetuneSettings]
)
def test_every_field_says_what_it_means_in_one_line(settings):
    for row in rows(settings):
        assert 0 < len(row.meaning) <= 140 and "\n" not in row.meaning, row


def test_shipped_configurations_are_read_as_typed_settings():
    given = read_pretrain(PRETRAIN)
    assert isinstance(given, PretrainSettings)
    assert given.train.steps == 2600 and given.model.block == "modern"
    assert given.objective["initial_temperature"] == 2.0 and given.watch.after_tokens == 2e6
    tuned = read_finetune(FINETUNE)
    assert tuned.task == "sst2" and tuned.train.epochs == 3.0 and tuned.train.steps is None
    assert tuned.optimizer.no_decay == ("LayerNorm|layer_norm|_norm/|bias",)


def changed(config, key, value=...):
    config = copy.deepcopy(dict(config))
    *parents, name = key.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    if value is ...:
        del node[name]
    else:
        node[name] = value
    return config


@pytest.mark.parametrize(
    ("read", "config", "key", "value", "message"),
    [
        (read_pretrain, PRETRAIN, "train.log_every", ..., "train.log_every is missing"),
        (read_pretrain, PRETRAIN, "mesh", ..., "mesh is missing.*valid: size, resume"),
        (read_pretrain, PRETRAIN, "train.log_evry", 3, "did you mean train.log_every"),
        (read_pretrain, PRETRAIN, "objective.name", ..., "objective.name is missing"),
        (read_pretrain, PRETRAIN, "model.remat", "some", "model.remat='some': choose one of none"),
        (read_pretrain, PRETRAIN, "train.steps", 1.5, "train.steps=1.5: must be of type int"),
        (read_pretrain, PRETRAIN, "init_vocabulary", "some", "^init_vocabulary='some': choose"),
        (read_finetune, FINETUNE, "data.columns", ..., "data.columns is missing"),
        (read_finetune, FINETUNE, "seeds", 0, "^seeds=0: must be at least 1"),
        (read_finetune, FINETUNE, "model.question.joint", 1, "question.joint=1: must be of type"),
        (read_finetune, FINETUNE, "loss.r_drop", -1.0, "loss.r_drop=-1.0: must not be negative"),
        (read_finetune, FINETUNE, "optimizer.beta2", 1.0, "at least 0 and below 1"),
    ],
)
def test_what_is_missing_unknown_or_wrong_is_one_error(read, config, key, value, message):
    with pytest.raises(UserError, match=message):
        read(changed(config, key, value))


def test_an_objective_has_fields_of_its_own():
    @dataclasses.dataclass(frozen=True)
    class Own:
        window: Any = field(3, "Positions.", when_absent=0)

    whole = pretrain_settings(Own)
    assert whole is pretrain_settings(Own)
    keys = {row.key for row in rows(whole) if row.key.startswith("objective.")}
    assert keys == {"objective.name", "objective.window"}
    assert absent_values(whole) == {"objective.window": 0, "train.minutes": None}
    names = {row.key for row in rows(fields_of(PRETRAIN))}
    assert "objective.mask_prob" in names and "objective.window" not in names
