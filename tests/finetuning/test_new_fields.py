"""A fine-tuning run that was begun before a field existed goes on as it began: every attempt and
every seed. The field that stands for a new one is loss.label_smoothing."""

import dataclasses
import json

import pytest
from finetuning import tiny_task
from finetuning.tiny_task import configuration, write_task

from electra_jax.config.fields import field, read
from electra_jax.config.finetuning import FinetuneSettings, LossSettings
from electra_jax.errors import UserError
from electra_jax.finetuning import restarts, run
from electra_jax.finetuning.run import FineTuning

KEY = "loss.label_smoothing"
OLD, NEW = 0.0, 0.1


@dataclasses.dataclass(frozen=True)
class NewLoss(LossSettings):
    label_smoothing: float = field(NEW, "As if it were new.", when_absent=OLD)


@dataclasses.dataclass(frozen=True)
class NewSettings(FinetuneSettings):
    loss: NewLoss = field(NewLoss, "The loss.")


@pytest.fixture
def begun(tiny_model, tmp_path):
    """The configuration of a run, and its folder with what a program without the field wrote."""
    data = write_task(tmp_path / "data", tiny_task.classification)
    config = configuration("classification", tiny_model, data)
    workdir = tmp_path / "run"
    built = FineTuning.build(config, workdir, quiet=True)
    (workdir / "checkpoints/3").mkdir(parents=True)
    recorded = json.loads(json.dumps(built.recorded()))
    del recorded["loss"]["label_smoothing"]
    (workdir / "config.json").write_text(json.dumps(recorded))
    return config, workdir


@pytest.fixture
def newer_program(begun, monkeypatch):
    for module in (run, restarts):
        monkeypatch.setattr(module, "FinetuneSettings", NewSettings)
        monkeypatch.setattr(
            module, "read_finetune", lambda c: read(NewSettings, c, "", complete=True)
        )


class Stopped(Exception):
    pass


def built_by(config, workdir, monkeypatch):
    """The label smoothing of the runs that `finetune` builds, up to the first that would train."""
    found = []

    def stop(self):
        found.append(self.objective.settings.label_smoothing)
        self.workdir.mkdir(parents=True, exist_ok=True)
        run.load_or_check_config(self.workdir, self.recorded(), absent=run._absent())
        raise Stopped

    monkeypatch.setattr(FineTuning, "train", stop)
    with pytest.raises(Stopped):
        restarts.finetune(config, workdir, quiet=True)
    return found


def test_it_resumes_with_what_changes_nothing(begun, newer_program, monkeypatch, tmp_path):
    config, workdir = begun
    default = config.replace({KEY: NEW}, given=False)
    assert built_by(default, workdir, monkeypatch) == [OLD]
    assert built_by(default, tmp_path / "fresh", monkeypatch) == [NEW]
    with pytest.raises(UserError, match=rf"{KEY}: {OLD} → {NEW}"):
        built_by(config.replace({KEY: NEW}), workdir, monkeypatch)


def test_an_attempt_after_one_that_failed_is_like_it(begun, newer_program, monkeypatch):
    config, workdir = begun
    (workdir / "failed-1").mkdir()
    (workdir / "config.json").rename(workdir / "failed-1/config.json")
    default = config.replace({KEY: NEW}, given=False)
    assert built_by(default, workdir, monkeypatch) == [OLD]


def test_every_seed_is_like_the_one_that_was_begun(begun, newer_program, monkeypatch):
    config, workdir = begun
    (workdir.parent / "several").mkdir()
    workdir.rename(workdir.parent / "several/seed-1")
    several = config.replace({KEY: NEW, "seeds": 3}, given=False)
    assert built_by(several, workdir.parent / "several", monkeypatch) == [OLD]  # of seed 0


def test_without_a_meaning_of_its_absence_it_is_refused(begun, monkeypatch):
    config, workdir = begun
    with pytest.raises(UserError, match=rf"{KEY}: \(absent\) → {OLD}"):
        built_by(config, workdir, monkeypatch)
