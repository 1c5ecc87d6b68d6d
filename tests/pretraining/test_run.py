"""A pretraining run that is set up: refusals before the first step, and the watch-dog."""

import pytest
from rows_folder import numbered_rows, write_rows

from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.objectives.base import Alarm
from electra_jax.pretraining.dry_run import AssumedRows
from electra_jax.pretraining.held_out import open_held_out
from electra_jax.pretraining.plan import Plan
from electra_jax.pretraining.run import Pretraining, watch_dog

TINY = "--config=configs/pretrain.py:tiny"


def configured(*overrides):
    return load_config([TINY, *overrides])[0]


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "rows", numbered_rows(40), numbered_rows(3))


@pytest.mark.parametrize(
    ("overrides", "workdir", "message"),
    [
        ([], "run", r"data\.path is not set: --config\.data\.path=ROWS"),
        (["data.path={rows}"], "rows", "is data.path: give the run a folder of its own"),
        (["data.path={rows}", "train.batch_size=64"], "run", "40 rows, fewer than .*batch_size=64"),
        (["data.path={rows}", "train.batch_size=6", "train.accumulate=4"], "run", "not divisible"),
        (["data.path={rows}", "train.batch_size=8", "init_vocabulary=all"], "run", "choose one of"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    rows, tmp_path, overrides, workdir, message
):
    given = [f"--config.{x.format(rows=rows)}" for x in overrides]
    with pytest.raises(UserError, match=message):
        Pretraining.build(configured(*given), tmp_path / workdir, quiet=True)
    assert not (tmp_path / "run/config.json").exists()


def test_rows_without_held_out_ones_are_warned_of(tmp_path, caplog):
    assert open_held_out(write_rows(tmp_path / "a", numbered_rows(4), numbered_rows(2))).count == 2
    assert not caplog.records
    assert open_held_out(write_rows(tmp_path / "b", numbered_rows(4))) is None
    assert "no held-out rows: nothing is evaluated during the run" in caplog.text


ALARM = Alarm("auc", 0.6, "AUC {value:.2f} after {tokens:.3g} tokens")


def test_the_watch_dog_warns_once_when_warm_up_and_tokens_are_over():
    watch = watch_dog(ALARM, warmup_steps=10, minimum_tokens=1000, steps=100)
    row = {"auc": 0.55}
    assert watch({"step": 19, **row}, 5000) is None  # not twice the warm-up
    assert watch({"step": 20, **row}, 999) is None  # not the tokens
    assert watch({"step": 20, "loss": 1.0}, 1000) is None  # a row without the metric
    assert watch({"step": 21, "auc": 0.6}, 1000) is None
    assert watch({"step": 22, **row}, 1200) == "step 22: AUC 0.55 after 1.2e+03 tokens"
    assert watch({"step": 23, **row}, 1300) is None


def test_without_an_alarm_nothing_is_watched():
    assert watch_dog(None, 0, 0, 10) is None
    assert watch_dog((), 0, 0, 10) is None


def alarms(*overrides):
    config = configured(*overrides)
    plan = Plan.of(config, AssumedRows(97, 32), None)
    return plan.objective.alarm(config["watch"]), plan.settings.steps


def test_a_run_that_has_learnt_nothing_by_its_middle_is_told_what_to_try():
    given, _ = alarms("--config.model.block=bert")
    watch = watch_dog(given, warmup_steps=10, minimum_tokens=1e9, steps=100)
    assert watch({"step": 40, "eval_rtd_skill": 0.0}, 1e6) is None  # not half of it
    assert watch({"step": 60, "rtd_skill": 0.0}, 1e6) is None  # not of held-out rows
    assert watch({"step": 60, "eval_rtd_skill": 0.02}, 1e6) is None
    line = watch({"step": 80, "eval_rtd_skill": 0.004}, 1e6)
    assert line.startswith("step 80: half of the run is over and the held-out skill is 0.004: ")
    assert "lower optimizer.learning_rate" in line and "model.block=modern" in line
    assert watch({"step": 90, "eval_rtd_skill": 0.0}, 1e6) is None  # once


def test_the_remedy_is_not_what_the_run_has_already():
    modern = configured()["model"]["block"] == "modern"
    given, _ = alarms()
    assert modern and "model.block" not in given[-1].message
    given, _ = alarms("--config.watch.minimum_skill=0")
    assert [alarm.key for alarm in given] == ["discriminator_auc"]


def test_two_warnings_of_one_row_are_both_given():
    second = ALARM._replace(key="loss", message="loss {value:g}")
    watch = watch_dog([ALARM, second], warmup_steps=0, minimum_tokens=0, steps=10)
    assert watch({"step": 1, "auc": 0.5, "loss": 0.1}, 10).splitlines() == [
        "step 1: AUC 0.50 after 10 tokens",
        "step 1: loss 0.1",
    ]
