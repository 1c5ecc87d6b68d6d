import json
import types

import pytest
from tiny_run import OVERRIDES, make_rows

from electra_jax.config.resolved import Config
from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.pretraining import pace
from electra_jax.pretraining.run import Pretraining

TRAIN = {"minutes": 1.0, "steps": None, "eval_every": 0, "batch_size": 8}


@pytest.fixture
def half_a_second_a_step(monkeypatch):
    """A trial that takes 20 s: 16 steps of half a second, and compiling."""
    now = iter((0.0, 20.0))
    monkeypatch.setattr(pace, "time", types.SimpleNamespace(perf_counter=lambda: next(now)))
    monkeypatch.setattr(pace, "_seconds_per_step", lambda config, build: 0.5)


@pytest.mark.parametrize(
    ("changes", "evaluated_rows", "steps"),
    [
        # 60 s less 2 % to spare, the trial and as much compiling again (12 s): 26.8 s
        ({}, 0, 53),
        # 240 rows are 30 batches, forward alone 5 s, once at the end
        ({}, 240, 43),
        # … and every 10 steps, which makes a step a whole second
        ({"eval_every": 10}, 240, 21),
        ({"minutes": 10.0}, 0, 1112),
    ],
)
def test_minutes_become_the_steps_that_fit(half_a_second_a_step, changes, evaluated_rows, steps):
    config = Config({"train": {**TRAIN, **changes}})
    found = pace.steps_of_minutes(config, None, lambda config: None, evaluated_rows)
    assert found["train"] == {**TRAIN, **changes, "steps": steps}
    assert "train.steps" not in found.given()


def test_too_few_minutes_are_refused(half_a_second_a_step):
    config = Config({"train": {**TRAIN, "minutes": 0.5}})
    with pytest.raises(UserError, match=r"train\.minutes=0\.5: too short .* give more minutes"):
        pace.steps_of_minutes(config, None, lambda config: None, 0)


def test_the_steps_are_measured_once_and_recorded(tmp_path, monkeypatch):
    rows = make_rows(tmp_path)
    overrides = [o for o in OVERRIDES if "train.steps" not in o]
    config, _ = load_config([*overrides, f"--config.data.path={rows}", "--config.train.minutes=60"])
    workdir = tmp_path / "run"
    measured = []
    real = pace._seconds_per_step

    def once(config, build):
        measured.append(real(config, build))
        return measured[-1]

    monkeypatch.setattr(pace, "_seconds_per_step", once)
    first = Pretraining.build(config, workdir, quiet=True)
    steps = first.run.settings.steps
    assert 0 < measured[0] and 1 < steps < 3600 / measured[0]
    assert not workdir.exists()  # the trial leaves nothing
    (workdir / "checkpoints" / "3").mkdir(parents=True)  # else there is nothing to go on from
    (workdir / "config.json").write_text(json.dumps(first.recorded()))
    again = Pretraining.build(config, workdir, quiet=True)
    assert again.run.settings.steps == steps and len(measured) == 1
    assert again.recorded() == first.recorded()
