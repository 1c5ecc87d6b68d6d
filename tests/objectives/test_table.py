"""Objectives by name: settings of their own, what is exported, what old runs recorded."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import pytest
from objectives.tiny import SPECIAL

from electra_jax.config.schedule import Schedule
from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.objectives.base import NetworkOf, RunShape
from electra_jax.objectives.electra import ElectraObjective
from electra_jax.objectives.masked_lm import MaskedLMObjective
from electra_jax.objectives.table import (
    OBJECTIVES,
    build_objective,
    find_objective,
    known_metrics,
)
from electra_jax.pretraining.dry_run import AssumedRows
from electra_jax.pretraining.plan import Plan

# What a run of b199300 recorded, whatever its objective.
RECORDED = {
    "mask_prob": 0.15,
    "masking": "without_replacement",
    "sampler": "inverse_cdf",
    "temperature": 1.0,
    "initial_temperature": 2.0,
    "temperature_fraction": 0.5,
    "disallow_correct": False,
    "sample_with_dropout": True,
    "generator_weight": 1.0,
    "discriminator_weight": 50.0,
}
# Fields that came later, and what a run without them did.
ADDED = {
    "eval_mask_prob": None,
    "whole_words": False,
    "ngrams": (),
    "masked_share": 0.85,
    "hidden_prob": 0.0,
    "z_loss": 0.0,
    "generator_dropout": True,
    "zero_head": False,
    "replaced_share": 1.0,
}


def run_shape(*overrides: str, steps: int = 100) -> RunShape:
    arguments = [f"--config.objective.{x}" for x in overrides]
    config, _ = load_config(["--config=configs/pretrain.py:tiny", *arguments])
    return RunShape(config, "rows", 97, SPECIAL, 32, 1, steps, 256)


def test_objectives_are_found_by_name():
    assert find_objective("electra") is ElectraObjective
    assert find_objective("masked_lm") is MaskedLMObjective
    with pytest.raises(UserError, match=r"'gpt': choose one of electra, masked_lm, .*or FILE\.py"):
        find_objective("gpt")


# Electric has a key of its own.
@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "electric"])
def test_what_an_old_run_recorded_is_read_as_before(name):
    settings = find_objective(name).read_settings({"name": name, **RECORDED})
    before = {**RECORDED, **ADDED}
    read = dataclasses.asdict(settings)
    assert read == {key: before[key] for key in read}
    assert {*read, *find_objective(name).unread} - {*ADDED} == {*RECORDED}


def test_the_block_of_electra_has_every_key_of_before():
    assert {*run_shape().config["objective"]} == {"name", *RECORDED, *ADDED}


def test_a_key_of_another_objective_is_refused_by_name():
    with pytest.raises(UserError, match=r"'masked_lm' has no such field; valid: .*mask_prob"):
        run_shape("name=masked_lm", "sampler=gumbel")
    with pytest.raises(UserError, match=r"objective\.flavour: no such field; .*mask_prob, masking"):
        MaskedLMObjective.read_settings({"flavour": 1})


def test_another_objective_keeps_what_the_file_sets_on_purpose():
    config, _ = load_config(
        ["--config=configs/pretrain.py:large", "--config.objective.name=masked_lm"]
    )
    assert {k: v for k, v in config["objective"].items() if k not in ADDED} == {
        "name": "masked_lm", "mask_prob": 0.25, "masking": "without_replacement",
    }  # fmt: skip
    assert config["objective"]["eval_mask_prob"] == 0.15


def test_schedules_of_settings_know_the_run():
    run = run_shape("mask_prob=linear(0.3, 0.15)", "generator_weight=step(1, 2, tokens=2560)")
    objective = build_objective(run)
    assert objective.settings.mask_prob == Schedule("linear", 0.3, 0.15, steps=100)
    assert objective.coefficients["generator_loss"].steps == 10
    assert objective.coefficients["discriminator_loss"] == 50.0  # a number stays one
    assert objective.settings.temperature == Schedule("exponential", 2.0, 1.0, 0.5, steps=50)


def test_temperature_is_said_in_one_way_only():
    with pytest.raises(UserError, match=r"initial_temperature=2\.0 both say how it changes"):
        build_objective(run_shape("temperature=linear(3, 1)"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_metric_is_declared_once_and_titled(name):
    metrics = OBJECTIVES[name].metrics
    assert len({metric.key for metric in metrics}) == len(metrics) > 0
    assert all(metric.title and metric.better in (-1, 0, 1) for metric in metrics)
    assert {metric.key for metric in metrics} <= {metric.key for metric in known_metrics()}


class Exports(MaskedLMObjective):
    """What its class attribute says."""

    exported: ClassVar[Any] = {}

    def networks(self, params):
        return self.exported


@pytest.mark.parametrize(
    ("exported", "message"),
    [
        ({}, r"its networks\(\) names none to export"),
        ({"a": NetworkOf("mystery", None, {})}, r"is of kind 'mystery'; model folders hold"),
    ],
)
def test_an_objective_that_would_export_nothing_is_refused_before_the_run(
    monkeypatch, exported, message
):
    monkeypatch.setitem(OBJECTIVES, "masked_lm", Exports)
    monkeypatch.setattr(Exports, "exported", exported)
    run = run_shape("name=masked_lm")
    plan = Plan.of(run.config, AssumedRows(97, 32), None)
    with pytest.raises(UserError, match=message):
        plan.optimizer({"electra": jax.ShapeDtypeStruct((), "float32")})
