"""Which fields a user gave, and what an older run's file that lacks some fields stands for."""

import copy
import dataclasses
import json

import pytest

from electra_jax.config.fields import absent_values, field
from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.config.resolved import (
    Config,
    as_config,
    filled_in,
    flatten_config,
    going_on,
    lacking,
)
from electra_jax.errors import UserError

VALUES = {"size": "s", "train": {"steps": 10, "wandb": None}, "mesh": {}}


def test_a_configuration_is_plain_dicts_for_whoever_reads_it():
    config = Config(VALUES, ["train.steps"])
    assert config == VALUES and json.loads(json.dumps(config)) == VALUES
    assert copy.deepcopy(config).given() == {"train.steps"}


def test_what_is_given_includes_what_is_assigned_later():
    config = Config(VALUES, ["size"])
    assert config.given() == {"size"}
    config["train"]["steps"] = 10.0  # another value in config.json
    config["train"]["seed"] = 3
    assert config.given() == {"size", "train.steps", "train.seed"}
    assert VALUES["train"]["steps"] == 10


def test_replaced_values_count_as_given_unless_told_otherwise():
    config = Config(VALUES, ["size"])
    assert config.replace({"train.steps": 3}).given() == {"size", "train.steps"}
    quiet = config.replace({"train.steps": 3, "size": "t"}, given=False)
    assert quiet["train"]["steps"] == 3 and quiet.given() == set()
    assert config == VALUES
    with pytest.raises(UserError, match=r"size\.a: there is no group size"):
        config.replace({"size.a": 1})


@dataclasses.dataclass(frozen=True)
class Train:
    steps: int = field(10, "length")
    smooth: float = field(0.1, "new", when_absent=0.0)


@dataclasses.dataclass(frozen=True)
class Settings:
    size: str = field("s", "name")
    train: Train = field(Train, "the run")


ABSENT = {"train.smooth": 0.0}


def test_of_plain_dicts_what_differs_from_the_defaults_was_given():
    config = as_config({"size": "s", "train": {"steps": 3, "smooth": 0.1}}, Settings)
    assert config.given() == {"train.steps"}


@pytest.mark.parametrize("kind", [dict, Config])
def test_a_field_that_a_dict_predates_is_filled_in(kind):
    config = as_config(kind({"size": "s", "train": {"steps": 10}}), Settings)
    assert config["train"]["smooth"] == 0.0 and "train.smooth" not in config.given()


@pytest.mark.parametrize(
    ("given", "old", "value"),
    [
        ([], {"steps": 10}, 0.0),
        (["train.smooth"], {"steps": 10}, 0.1),
        ([], {"steps": 10, "smooth": 0.2}, 0.1),  # not older than the field: compared as it is
    ],
)
def test_going_on_with_an_older_run_takes_what_changes_nothing(given, old, value):
    config = Config({"size": "s", "train": {"steps": 10, "smooth": 0.1}}, given)
    found = going_on(config, {"size": "s", "train": old}, ABSENT)
    assert found["train"]["smooth"] == value
    assert found.given() == set(given)


def test_a_whole_group_may_be_newer_and_one_that_is_none_lacks_nothing():
    old = {"a": {"b": None}}
    assert lacking(old, {"a.b.c": 1, "d.e": {"f": 2}}) == {"d.e": {"f": 2}}
    assert filled_in(old, {"a.b.c": 1, "d.e": {"f": 2}}) == {**old, "d": {"e": {"f": 2}}}
    assert old == {"a": {"b": None}}


def test_the_shapes_that_a_run_records_are_groups_too():
    @dataclasses.dataclass(frozen=True)
    class Shape(ElectraConfig):
        window: int | None = field(128, "new", when_absent=None)

    newer = {"pooling": "cls", "discriminator_head": "electra"}
    own = {f"network.{k}": v for k, v in {**newer, "window": None}.items()}
    assert absent_values(Shape, "network") == own
    pair = dataclasses.make_dataclass(
        "Pair", [("generator", Shape | None, None)], bases=(PairConfig,), frozen=True
    )
    found = absent_values(pair, "networks")
    for name, value in newer.items():
        assert found.pop(f"networks.discriminator.{name}") == value
    assert found == {f"networks.generator.{k.removeprefix('network.')}": v for k, v in own.items()}


def test_flattening_keeps_lists_and_empty_mappings_as_values():
    assert flatten_config({"a": {"b": [1], "c": {}}, "d": 1}) == {"a.b": [1], "a.c": {}, "d": 1}
