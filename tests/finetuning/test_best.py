"""The best step's parameters on disk."""

import math

import numpy as np
import pytest

from electra_jax.finetuning.best import best_params, keep_best, read_best, remove_best_params
from electra_jax.training.step import TrainState


def state(value):
    params = {"classifier": {"kernel": np.full((2, 3), value, np.float32)}}
    return TrainState(np.int32(0), params, {}, {})


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_latest_best_replaces_the_one_before(tmp_path):
    assert read_best(tmp_path) is None
    keep_best(tmp_path, state(1.0), 20, 50.0)
    keep_best(tmp_path, state(2.0), 40, 80.0)
    assert files(tmp_path) == ["best-00000040.safetensors", "best.json"]
    assert read_best(tmp_path) == {"step": 40, "score": 80.0, "file": "best-00000040.safetensors"}
    kernel = best_params(tmp_path, nested=True)["classifier"]["kernel"]
    np.testing.assert_array_equal(kernel, np.full((2, 3), 2.0, np.float32))
    assert best_params(tmp_path, nested=False).keys() == {"classifier/kernel"}


def test_a_step_evaluated_again_after_a_resume_keeps_its_file(tmp_path):
    keep_best(tmp_path, state(1.0), 20, 50.0)
    keep_best(tmp_path, state(3.0), 20, 50.0)
    assert files(tmp_path) == ["best-00000020.safetensors", "best.json"]
    assert best_params(tmp_path, nested=False)["classifier/kernel"][0, 0] == 3.0


def test_an_undefined_score_is_none(tmp_path):
    keep_best(tmp_path, state(1.0), 20, math.nan)
    assert read_best(tmp_path)["score"] is None


def test_a_write_that_fails_leaves_the_previous_best(tmp_path, monkeypatch):
    keep_best(tmp_path, state(1.0), 20, 50.0)

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("electra_jax.finetuning.best.write_safetensors", full)
    with pytest.raises(OSError, match="disk full"):
        keep_best(tmp_path, state(2.0), 40, 80.0)
    assert read_best(tmp_path)["step"] == 20
    assert best_params(tmp_path, nested=False)["classifier/kernel"][0, 0] == 1.0


def test_a_finished_run_keeps_no_parameters_beside_its_model(tmp_path):
    keep_best(tmp_path, state(1.0), 20, 50.0)
    remove_best_params(tmp_path)
    assert files(tmp_path) == ["best.json"]
