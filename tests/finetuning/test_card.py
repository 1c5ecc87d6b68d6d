"""The facts of a fine-tuning run: figures as text, files without their folders."""

import dataclasses
import math
from types import SimpleNamespace

import pytest

from electra_jax.config_file import get_config
from electra_jax.finetuning.card import model_facts
from electra_jax.finetuning.data.task_data import Files
from electra_jax.finetuning.task_table import get_task


@dataclasses.dataclass
class _Data:
    """What `model_facts` reads of a `TaskData`."""

    task: object
    files: Files
    train: list
    eval: list
    columns: dict
    truncated: int = 0
    settings: object = dataclasses.field(default_factory=lambda: SimpleNamespace(max_length=64))
    codec: object = dataclasses.field(default_factory=lambda: SimpleNamespace(labels=("a", "b")))

    @property
    def kind(self):
        return SimpleNamespace(name="classification")


def _facts(tmp_path, task="classification", test=None, **given):
    folder = tmp_path / "secret"
    data = _Data(
        get_task(task),
        Files(f"{folder}/train.csv", f"{folder}/dev.csv"),
        [0] * 1200,
        [0] * 30,
        {"text": "review"},
        truncated=5,
    )
    values = {"seed": 3, "step": 1500, "trained": 12345, "scores": {}, "test_scores": {}}
    config = get_config(f"finetune:{task}", {"data.test_path": test})
    return model_facts(config, data, f"{folder}/start", **{**values, "failure": None, **given})


def test_the_facts_of_a_run(tmp_path):
    facts = _facts(tmp_path, test=str(tmp_path / "secret/test.csv"))
    assert facts.title == "classification from start" and facts.task == "classification"
    assert facts.dataset == "dev.csv" and facts.labels == ("a", "b") and not facts.remarks
    assert facts.data == {
        "training data": "train.csv",
        "training examples": "1,200",
        "held-out data": "dev.csv",
        "held-out examples": "30",
        "test data": "test.csv",
        "columns": "text from `review`",
        "longest input": "64 tokens",
        "texts cut to it": "5",
    }
    training = dict(facts.training)
    assert training.pop("made with").startswith("electra_jax ")
    assert training == {
        "method": "all parameters",
        "trained parameters": "12,345",
        "epochs": "3",
        "batch size": "32",
        "learning rate": "",
        "seed": "3",
        "step kept": "1,500",
    }
    assert "secret" not in str(dataclasses.replace(facts, base=""))


@pytest.mark.parametrize(("value", "kept"), [(91.5, True), (0.0, True), (math.nan, False)])
def test_undefined_scores_are_left_out(tmp_path, value, kept):
    assert ("pearson" in _facts(tmp_path, scores={"pearson": value}).scores) is kept


def test_a_run_that_did_not_learn_says_so(tmp_path):
    (remark,) = _facts(tmp_path, failure="it always answers a").remarks
    assert remark == "This run did not learn: it always answers a"
