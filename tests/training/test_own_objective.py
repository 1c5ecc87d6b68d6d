"""An objective in a user's own file: everything that the package's have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import pytest
from tiny_run import OVERRIDES, make_rows, metric_rows, models, pretrain, without_speed

from electra_jax.api.sweep import table
from electra_jax.cli import main
from electra_jax.config_file import load_config
from electra_jax.errors import UserError
from electra_jax.objectives.table import find_objective
from electra_jax.pretraining.run import Pretraining
from electra_jax.training.metrics_log import read_metrics, read_rows

SOURCE = Path(__file__).resolve().parents[1] / "objectives" / "selected_only.py"
SHORT = ("--config.train.steps=8", "--config.train.log_every=4", "--config.train.eval_every=8")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The file, at a place that the package does not know."""
    path = tmp_path_factory.mktemp("mine") / "my_objective.py"
    shutil.copy(SOURCE, path)
    return path


def arguments(rows, name, *overrides):
    given = (f"--config.data.path={rows}", f"--config.objective.name={name}", *overrides)
    return [*OVERRIDES, *SHORT, *given]


@pytest.fixture(scope="module")
def trained(rows, file, tmp_path_factory):
    name = f"{file}:SelectedOnly"
    overrides = ("--config.objective.detection_weight=30", "--config.objective.mask_prob=0.25")
    given = arguments(rows, name, *overrides)
    return given, pretrain(given, tmp_path_factory.mktemp("run"))


def test_it_trains_with_its_own_settings_and_metrics(trained):
    _, workdir = trained
    recorded = json.loads((workdir / "config.json").read_text())["objective"]
    assert recorded["detection_weight"] == 30 and recorded["mask_prob"] == 0.25
    assert "discriminator_weight" not in recorded
    held_out = [row for row in metric_rows(workdir) if "eval_loss" in row][-1]
    # Among the selected positions alone most tokens are replaced.
    assert held_out["eval_replaced_rate"] > 0.5
    weighed = held_out["eval_cloze_loss"] + 30 * held_out["eval_discriminator_loss"]
    assert held_out["eval_loss"] == pytest.approx(weighed, rel=1e-6)


def test_it_exports_and_reports(trained, file):
    _, workdir = trained
    for network in ("discriminator", "generator"):
        assert (workdir / "model" / network / "model.safetensors").is_file()
    assert "Cloze loss" in (workdir / "report.html").read_text()
    assert read_metrics(workdir) == find_objective(f"{file}:SelectedOnly").metrics
    first, _ = table({"a": read_rows(workdir)}, read_metrics(workdir))
    assert first.split() == ["run", "step", "loss", "rtd_skill", "discriminator_auc", "cloze_loss"]


def test_its_report_needs_no_file_of_it(trained, file, tmp_path):
    _, workdir = trained
    hidden = file.rename(tmp_path / "gone.py")
    try:
        assert main(["report", str(workdir), f"--output={tmp_path / 'r.html'}"]) == 0
        assert "Cloze loss" in (tmp_path / "r.html").read_text()
    finally:
        hidden.rename(file)


def test_it_resumes_bit_for_bit(trained, tmp_path):
    given, whole = trained
    pretrain(given, tmp_path, killed_after=5)
    assert not (tmp_path / "model").exists()
    pretrain(given, tmp_path)
    assert models(tmp_path) == models(whole)
    assert without_speed(tmp_path)[-1] == without_speed(whole)[-1]


def test_it_is_planned(trained, capsys):
    given, _ = trained
    assert main(["pretrain", *given, "--dry_run", "--devices=1"]) == 0
    text = capsys.readouterr().out
    assert "FLOPs" in text and "discriminator_predictions" in text


def test_its_keys_alone_are_valid(rows, file):
    name = f"{file}:SelectedOnly"
    with pytest.raises(UserError, match=r"discriminator_weight: .*valid: .*detection_weight"):
        load_config(arguments(rows, name, "--config.objective.discriminator_weight=1"))
    with pytest.raises(UserError, match=r"Settings is no subclass .*in .*: SelectedOnly"):
        load_config(arguments(rows, f"{file}:Settings"))


def test_a_mask_rate_that_falls(rows, tmp_path):
    """30 → 15 %: counts of predicted tokens by step; accumulation, resuming, evaluation."""
    changing = ("--config.objective.mask_prob=linear(0.3, 0.15)", "--config.train.log_every=1")
    given = arguments(rows, "electra", *changing)
    run = Pretraining.build(load_config(given)[0], tmp_path / "a", quiet=True)
    masking = run.objective.masking
    batch = next(run.run.batches(0))
    tokens = (batch["input_ids"] != masking.special.pad).sum(1)
    for step in (0, 3, 7, None):
        share = 0.15 if step is None else 0.3 - 0.15 * step / 8
        expected = sum(max(1, round(n * share)) for n in tokens.tolist())
        found = float(run.objective.weights(batch, None if step is None else jax.numpy.int32(step))
                      ["generator_loss"])  # fmt: skip
        assert abs(found - expected) <= 1  # a half that float32 rounds the other way
    assert masking.max_predictions >= round(0.3 * 16)
    pretrain(given, tmp_path / "a")
    logged = [row["mask_prob"] for row in metric_rows(tmp_path / "a") if "mask_prob" in row]
    assert logged == pytest.approx([0.3 - 0.15 * step / 8 for step in range(8)], rel=1e-5)
    held_out = [row for row in metric_rows(tmp_path / "a") if "eval_loss" in row]
    assert all("eval_mask_prob" not in row for row in held_out)
    pretrain(given, tmp_path / "b", killed_after=5)
    pretrain(given, tmp_path / "b")
    assert models(tmp_path / "b") == models(tmp_path / "a")
    pretrain([*given, "--config.train.accumulate=2"], tmp_path / "c")
    for one, two in zip(without_speed(tmp_path / "a"), without_speed(tmp_path / "c"), strict=True):
        assert two.get("loss", 0) == pytest.approx(one.get("loss", 0), rel=2e-3)
        assert two.get("mask_prob") == one.get("mask_prob")


def test_a_masked_lm_run_of_earlier_versions_resumes(rows, tmp_path):
    """They recorded the keys of every objective."""
    given = arguments(rows, "masked_lm")
    pretrain(given, tmp_path / "whole")
    pretrain(given, tmp_path / "old", killed_after=5)
    path = tmp_path / "old" / "config.json"
    recorded = json.loads(path.read_text())
    unread = {"sampler": "inverse_cdf", "temperature": 0.7, "discriminator_weight": 50.0}
    path.write_text(json.dumps({**recorded, "objective": {**recorded["objective"], **unread}}))
    pretrain(given, tmp_path / "old")
    name = Path("model", "generator", "model.safetensors")
    assert (tmp_path / "old" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert json.loads(path.read_text()) == recorded
