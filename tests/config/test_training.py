"""The groups that pretraining and fine-tuning share."""

import dataclasses
import re

import pytest

from electra_jax.config.fields import read
from electra_jax.config.finetuning import FinetuneOptimizer, FinetuneTrain
from electra_jax.config.pretraining import PretrainOptimizer, PretrainTrain
from electra_jax.config.training import (
    DURATIONS,
    NO_DECAY,
    MeshSettings,
    OptimizerSettings,
    TrainSettings,
)
from electra_jax.errors import UserError


@pytest.mark.parametrize(
    ("shared", "groups"),
    [
        (TrainSettings, (PretrainTrain, FinetuneTrain)),
        (OptimizerSettings, (PretrainOptimizer, FinetuneOptimizer)),
    ],
)
def test_both_kinds_of_run_have_every_shared_field(shared, groups):
    names = {f.name for f in dataclasses.fields(shared)}
    for group in groups:
        assert names <= {f.name for f in dataclasses.fields(group)}


def test_every_unit_of_a_duration_is_a_field_of_its_group():
    groups = {"train": PretrainTrain, "optimizer": OptimizerSettings}
    for group, units in DURATIONS:
        fields = {f.name: f for f in dataclasses.fields(groups[group])}
        assert set(units) <= set(fields)
        assert all("None" in str(fields[unit].type) for unit in units)


@pytest.mark.parametrize(
    ("name", "decays"),
    [
        ("electra/encoder/layer/output/LayerNorm/scale", False),
        ("electra/encoder/layer/mlp_norm/scale", False),
        ("electra/encoder/attention_norm/scale", False),
        ("generator_predictions/output_bias", False),
        ("electra/encoder/layer/attention/self/query/kernel", True),
        ("electra/embeddings/word_embeddings", True),
    ],
)
def test_norms_and_biases_have_no_weight_decay(name, decays):
    assert (not any(re.search(pattern, name) for pattern in NO_DECAY)) is decays


@pytest.mark.parametrize(
    ("group", "values", "message"),
    [
        (OptimizerSettings, {"name": "sgd"}, "o.name='sgd': choose one of adam_reference, adamw"),
        (OptimizerSettings, {"warmup_fraction": 1.1}, "at least 0 and at most 1"),
        (OptimizerSettings, {"no_decay": "bias"}, "must be of type tuple"),
        (TrainSettings, {"accumulate": 0}, "o.accumulate=0: must be at least 1"),
        (TrainSettings, {"dtype": "float16"}, "choose one of float32, bfloat16"),
        (MeshSettings, {"data": 0.5}, "o.data=0.5: must be of type int"),
    ],
)
def test_what_is_wrong_is_named(group, values, message):
    with pytest.raises(UserError, match=message):
        read(group, values, "o")
