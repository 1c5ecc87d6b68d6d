"""Regression: targets scaled in the network, scores in the unit of the data, the head's scale."""

import math

import numpy as np
import pytest
from finetuning.letters import codec_of, encode, pair

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import CodecSettings
from electra_jax.finetuning.data.readers import read_examples
from electra_jax.finetuning.kinds.regression import Regression
from electra_jax.finetuning.task import SETTINGS_KEY
from electra_jax.finetuning.task_table import TASKS


def test_regression_targets_equal_the_reference_s(recorded):
    scaled = codec_of("stsb", target_range=(0.0, 5.0))
    raw = codec_of("stsb")
    for row in recorded["regression_targets"]:
        example = pair("a", "b", label=float(row["label"]))
        target = encode(scaled, example, train=True)["target"]
        assert target == np.float32(row["target"])
        assert target.dtype == np.float32
        assert encode(raw, example, train=True)["target"] == np.float32(row["label"])


def test_scores_come_back_in_the_unit_of_the_data():
    scaled = codec_of("stsb", target_range=(1.0, 5.0))
    assert encode(scaled, pair("a", "b", label=4.0), train=True)["target"] == 0.75
    for shape in ((), (1,)):
        logits = np.full(shape, 0.75, np.float32)
        answer = scaled.decode(pair("a", "b"), [], [{"logits": logits}])
        assert answer == {"id": "0", "score": 4.0}
    examples = [pair("a", "b", label=x) for x in (1.0, 2.0, 4.0)]
    scores = scaled.score(examples, [{"score": x} for x in (1.0, 2.0, 3.0)])
    assert scores["spearman"] == pytest.approx(100)
    assert scores["mean_squared_error"] == pytest.approx(1 / 3)


def head(kernel, bias):
    return {"kernel": np.array([[kernel]], np.float32), "bias": np.array([bias], np.float32)}


def test_the_exported_head_answers_in_the_unit_of_the_data():
    """Scaled output y becomes low + y · (high − low)."""
    params = {"classifier": {"dense": head(7, 8), "out_proj": head(0.5, 0.25)}}
    settings = {SETTINGS_KEY: {"codec": {"target_range": [1.0, 5.0]}}}
    exported, stated = Regression().exported(params, settings)
    assert exported["classifier"]["out_proj"]["kernel"].item() == 2.0
    assert exported["classifier"]["out_proj"]["bias"].item() == 2.0
    assert exported["classifier"]["dense"] == params["classifier"]["dense"]
    assert stated[SETTINGS_KEY]["codec"]["target_range"] == [0.0, 1.0]
    modern, _ = Regression().exported({"classifier": head(0.5, 0.25)}, settings)
    assert modern["classifier"]["bias"].item() == 2.0
    assert settings[SETTINGS_KEY]["codec"]["target_range"] == [1.0, 5.0]  # not changed in place


def test_a_kept_head_is_rescaled_to_the_new_range():
    flat = {"classifier/out_proj/kernel": np.array([[0.5]], np.float32),
            "classifier/out_proj/bias": np.array([0.25], np.float32)}  # fmt: skip
    new = CodecSettings(target_range=(0.0, 10.0))
    kept = Regression().kept_head(flat, {"target_range": [1.0, 5.0]}, ("LABEL_0",), (), new)
    for hidden in (0.0, 1.0, -3.0):
        before = 1 + 4 * (0.5 * hidden + 0.25)
        scaled = kept["classifier/out_proj/kernel"].item() * hidden
        assert 10 * (scaled + kept["classifier/out_proj/bias"].item()) == pytest.approx(before)


@pytest.mark.parametrize("value", ["x", "inf", True])
def test_a_target_that_is_no_number_is_named(tmp_path, value):
    import json

    file = tmp_path / "train.jsonl"
    file.write_text(json.dumps({"text": "a", "score": value}) + "\n")
    with pytest.raises(UserError, match=r"train\.jsonl:1: the target in column \"score\" is not"):
        list(read_examples(TASKS["regression"], str(file), {}))


def test_the_range_is_that_of_the_targets_unless_the_task_has_one():
    examples = [pair("a", label=x) for x in (2.0, -1.0, 0.5)]
    kind, settings = Regression(), CodecSettings()
    assert kind.prepare(TASKS["regression"], "f", examples, settings)[1].target_range == (-1, 2)
    assert kind.prepare(TASKS["stsb"], "f", examples, settings)[1] is settings
    with pytest.raises(UserError, match="all 1 targets are 2"):
        kind.prepare(TASKS["regression"], "f", examples[:1], settings)


def test_the_constant_s_loss_is_the_scaled_variance():
    examples = [pair("a", label=x) for x in (1.0, 3.0)]
    assert Regression().constant_loss(examples, (1.0, 5.0)) == pytest.approx(1 / 16)
    assert math.isclose(Regression().constant_loss(examples[:1], (0.0, 1.0)), 0.0)
