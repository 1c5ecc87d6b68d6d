"""Pretraining on rows of several folders in fixed shares."""

import json
import shutil

import pytest
from tiny_run import OVERRIDES, make_rows, metric_rows, models, pretrain, without_speed

from electra_jax.config_file import get_config, load_config
from electra_jax.data.mixture import open_rows
from electra_jax.pretraining.dry_run import dry_run


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """{folder: share}: two folders of rows of one tokenizer."""
    folder = tmp_path_factory.mktemp("mixture")
    rows = make_rows(folder)
    old = folder / "old-text" / "rows"
    shutil.copytree(rows, old)
    return {str(rows): 0.7, str(old): 0.3}


def arguments(mixture):
    text = "{" + ", ".join(f"{path}: {share}" for path, share in mixture.items()) + "}"
    return [*OVERRIDES, f"--config.data.path={text}"]


def test_it_goes_on_bit_for_bit_and_tells_of_each_folder(mixture, tmp_path):
    whole = pretrain(arguments(mixture), tmp_path / "whole")
    parts = pretrain(arguments(mixture), tmp_path / "parts", killed_after=5)
    pretrain(arguments(mixture), parts)
    assert models(whole) == models(parts)
    assert without_speed(whole) == without_speed(parts)
    held_out = [row for row in metric_rows(whole) if "eval_loss" in row]
    assert held_out and all(row["eval_old_text_loss"] == row["eval_loss"] for row in held_out)
    recorded = json.loads((whole / "config.json").read_text())
    assert recorded["data"]["fingerprint"] == open_rows(recorded["data"]["path"]).fingerprint
    report = (whole / "report.html").read_text()
    assert all(f"{share:.1%} of a batch" in report for share in mixture.values())
    card = (whole / "model/discriminator/README.md").read_text()
    assert "70.0% of the rows are from rows" in card and str(tmp_path) not in card


def test_python_gives_a_dict_and_a_dry_run_reads_it(mixture):
    config = get_config("pretrain:tiny", {"data.path": mixture, "train.batch_size": 8})
    assert config["data"]["path"] == load_config(arguments(mixture))[0]["data"]["path"]
    assert "16 tokens" in dry_run(config, devices=1)
