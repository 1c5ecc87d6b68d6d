"""Several seeds, and restarts of runs that did not learn."""

import json
import logging
import re

import numpy as np
import pytest
from finetuning.tiny_task import configuration

from electra_jax.errors import UserError
from electra_jax.finetuning.restarts import finetune
from electra_jax.finetuning.result import describe_result, read_result, summarize
from electra_jax.interop.load import load_model_folder
from electra_jax.modeling.trees import flatten

pytestmark = pytest.mark.apart


def test_seeds_are_summed_up(tiny_model, tiny_data, tmp_path, capsys):
    config = configuration("classification", tiny_model, tiny_data)
    config["seeds"] = 3
    results = finetune(config, tmp_path / "runs")
    stored = json.loads((tmp_path / "runs/results.json").read_text())
    scores = [r.score for r in results]
    assert [r.seed for r in results] == [0, 1, 2] and stored["summary"]["each"] == scores
    assert stored["summary"]["mean"] == pytest.approx(np.mean(scores))
    assert stored["summary"]["std"] == pytest.approx(np.std(scores, ddof=1))
    assert stored["summary"]["median"] == pytest.approx(np.median(scores))
    assert stored["summary"]["max"] == max(scores)
    assert capsys.readouterr().out.count("seed ") == 3
    assert (tmp_path / "runs/report.html").is_file()
    heads = [
        load_model_folder(tmp_path / f"runs/seed-{n}/model").params["classifier"] for n in (0, 1)
    ]
    first, second = map(flatten, heads)
    assert any(not np.array_equal(first[n], second[n]) for n in first)


def test_a_run_that_does_not_learn_is_named_and_begun_again(
    tiny_model, tiny_data, tmp_path, caplog
):
    """A learning rate of 0 cannot learn; each attempt has a seed and a folder of its own."""
    config = configuration("classification", tiny_model, tiny_data)
    config["optimizer"]["learning_rate"], config["train"]["restarts"] = 0.0, 1
    with caplog.at_level(logging.WARNING):
        (result,) = finetune(config, tmp_path / "run", quiet=True)
    assert result.failure and result.restarts == 1
    assert "did not learn" in caplog.text
    failed = read_result(tmp_path / "run/failed-1")
    assert failed.failure and failed.seed == 0 and result.seed != 0
    assert "This run did not learn" in (tmp_path / "run/report.html").read_text()
    assert summarize([result])["did_not_learn"] == [0]  # the seed that the folder is of
    assert re.search("DID NOT LEARN: .*; try more steps", describe_result(result))


def test_a_loss_that_is_not_finite_counts_as_not_learning(tiny_model, tiny_data, tmp_path, caplog):
    config = configuration("classification", tiny_model, tiny_data)
    config["optimizer"]["learning_rate"], config["optimizer"]["clip_norm"] = 1e30, None
    config["optimizer"]["warmup_fraction"], config["train"]["restarts"] = 0.0, 1
    with caplog.at_level(logging.WARNING), pytest.raises(UserError, match="not finite"):
        finetune(config, tmp_path / "run", quiet=True)
    assert "starting again" in caplog.text and (tmp_path / "run/failed-1").is_dir()
    config["train"]["restarts"], config["seeds"] = 0, 2
    results = finetune(config, tmp_path / "seeds", quiet=True)
    assert all("not finite" in r.failure and r.score is None for r in results)
    stored = json.loads((tmp_path / "seeds/results.json").read_text())
    assert [r["score"] for r in stored["seeds"]] == [None, None]
    assert stored["summary"]["did_not_learn"] == [0, 1]
    assert "This run did not learn" in (tmp_path / "seeds/report.html").read_text()
    assert finetune(config, tmp_path / "seeds", quiet=True) == results


def test_a_run_that_did_not_learn_may_be_given_more_starts(tiny_model, tiny_data, tmp_path):
    config = configuration("classification", tiny_model, tiny_data, "--config.train.steps=4")
    config["optimizer"]["learning_rate"] = 0.0
    (failed,) = finetune(config, tmp_path / "run", quiet=True)
    config["train"]["restarts"] = 1
    (again,) = finetune(config, tmp_path / "run", quiet=True)
    assert failed.failure and (failed.restarts, again.restarts) == (0, 1)
    assert read_result(tmp_path / "run/failed-1") == failed
