"""A run that was begun before a field existed goes on as it began, unless its user says otherwise.

The field that stands for a new one is optimizer.weight_decay: its key is taken out of the file of a
run that had 0.01, and the program that resumes has the default 0.5.
"""

import dataclasses
import json

import pytest
from tiny_run import OVERRIDES, make_rows, models

from electra_jax.config.fields import field, read
from electra_jax.config.pretraining import PretrainOptimizer, pretrain_settings
from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.objectives.electra import ElectraObjective
from electra_jax.pretraining import run as pretrain
from electra_jax.pretraining.run import Pretraining

QUICK = ("--config.train.steps=6", "--config.train.eval_every=0", "--config.train.log_every=2")
KEY = "optimizer.weight_decay"
OLD, NEW = 0.01, 0.5


@dataclasses.dataclass(frozen=True)
class NewOptimizer(PretrainOptimizer):
    weight_decay: float = field(NEW, "As if it were new.", when_absent=OLD)


NewSettings = dataclasses.make_dataclass(
    "NewSettings",
    [("optimizer", NewOptimizer, field(NewOptimizer, "The optimizer."))],
    bases=(pretrain_settings(ElectraObjective.Settings),),
    frozen=True,
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows"))


def configuration(rows, *overrides):
    return load_config([*OVERRIDES, *QUICK, f"--config.data.path={rows}", *overrides])[0]


def train(config, workdir):
    Pretraining.build(config, workdir, quiet=True).train()
    return models(workdir)


def interrupted(rows, workdir):
    """A run that ended after its first checkpoint, at step 3, under a program without the field."""
    begun = Pretraining.build(configuration(rows), workdir, quiet=True)
    saves = []

    def stop():
        saves.append(1)
        if len(saves) == 2:
            raise KeyboardInterrupt

    begun.run.before_save = stop
    with pytest.raises(KeyboardInterrupt):
        begun.train()
    assert (workdir / "checkpoints/3").is_dir() and not (workdir / "model").exists()
    file = workdir / "config.json"
    recorded = json.loads(file.read_text())
    assert recorded["optimizer"].pop("weight_decay") == OLD
    file.write_text(json.dumps(recorded))


@pytest.fixture
def newer_program(monkeypatch):
    """The program that has the field, and gives it another default."""
    monkeypatch.setattr(pretrain, "fields_of", lambda config: NewSettings)
    monkeypatch.setattr(
        pretrain, "read_pretrain", lambda c: read(NewSettings, c, "", complete=True)
    )


def newer(rows, *overrides):
    """Its configuration: the new default where the command line does not say."""
    config = configuration(rows, *overrides)
    return config if overrides else config.replace({KEY: NEW}, given=False)


def test_a_run_that_predates_a_field_goes_on_as_it_began(rows, tmp_path, newer_program):
    interrupted(rows, tmp_path / "run")
    refused = newer(rows, f"--config.{KEY}={NEW}")
    with pytest.raises(UserError, match=rf"{KEY}: {OLD} → {NEW}"):
        train(refused, tmp_path / "run")
    whole = train(newer(rows, f"--config.{KEY}={OLD}"), tmp_path / "whole")
    assert train(newer(rows), tmp_path / "run") == whole
    fresh = Pretraining.build(newer(rows), tmp_path / "fresh", quiet=True)
    assert fresh.config["optimizer"]["weight_decay"] == NEW
    assert train(newer(rows), tmp_path / "fresh") != whole


def test_a_field_that_does_not_say_what_its_absence_means_is_refused(rows, tmp_path):
    interrupted(rows, tmp_path / "run")
    with pytest.raises(UserError, match=rf"{KEY}: \(absent\) → {OLD}"):
        train(configuration(rows), tmp_path / "run")


def test_a_default_that_changes_nothing_needs_no_word(rows, tmp_path, newer_program):
    interrupted(rows, tmp_path / "run")
    resumed = Pretraining.build(configuration(rows), tmp_path / "run", quiet=True)
    assert resumed.config["optimizer"]["weight_decay"] == OLD
    resumed.train()


def test_a_dict_that_predates_a_field_stands_for_what_it_was(rows, tmp_path, newer_program):
    config = dict(configuration(rows))
    del config["optimizer"]["weight_decay"]
    built = Pretraining.build(config, tmp_path / "run", quiet=True)
    assert built.config["optimizer"]["weight_decay"] == OLD
    del config["optimizer"]["beta1"]
    with pytest.raises(UserError, match=r"optimizer\.beta1 is missing"):
        Pretraining.build(config, tmp_path / "run", quiet=True)
