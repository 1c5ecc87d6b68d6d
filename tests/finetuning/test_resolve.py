"""Settings that depend on the model and the data."""

import dataclasses

import numpy as np
import pytest
from finetuning import tiny_task
from finetuning.tiny_task import CONFIG, configuration, write_jsonl, write_task

from electra_jax.config.finetuning import read_finetune
from electra_jax.errors import UserError
from electra_jax.finetuning import resolve
from electra_jax.finetuning.data.batches import Plan
from electra_jax.finetuning.data.task_data import TaskData
from electra_jax.interop.load import load_model_folder


@pytest.fixture
def load(tiny_model, tmp_path):
    """(settings, data) of a task with some overrides."""

    def loaded(task, data, *overrides):
        config = configuration(task, tiny_model, data, *(f"--config.{x}" for x in overrides))
        tokenizer = load_model_folder(tiny_model).tokenizer
        return config, read_finetune(config), TaskData.load(config, tokenizer, 64, "huggingface")

    return loaded


def test_balanced_weights_make_labels_count_alike(load, tmp_path):
    (tmp_path / "data").mkdir()
    rows = [{"text": "a film", "label": name} for name in "aaab"]
    write_jsonl(tmp_path / "data/train.jsonl", rows)
    _, given, data = load("classification", tmp_path / "data", "loss.class_weights=balanced")
    weights = resolve.loss_settings(given, data.codec.labels, data).class_weights
    assert weights == (4 / 6, 2.0)
    assert 3 * weights[0] == pytest.approx(weights[1])
    few = dataclasses.replace(data, train=data.train[:2])
    with pytest.raises(UserError, match="every label in the training data"):
        resolve.loss_settings(given, data.codec.labels, few)


def test_class_weights_are_of_labels(load, tmp_path):
    data = write_task(tmp_path / "data", tiny_task.regression)
    _, given, data = load("regression", data, "loss.class_weights=(1.0,2.0)")
    with pytest.raises(UserError, match="regression has no labels to weigh"):
        resolve.loss_settings(given, data.codec.labels, data)


def test_the_reference_has_heads_for_some_kinds(load, tmp_path):
    data = write_task(tmp_path / "data", tiny_task.ranking, train=8, dev=2)
    config, _, data = load("ranking", data, "model.head=reference")
    with pytest.raises(UserError, match=r"no head for ranking \(it has classification, relation"):
        resolve.network(config, CONFIG, data)


def test_the_model_s_shape_is_kept_but_for_what_is_given(load, tiny_data):
    _, given, _ = load("classification", tiny_data, "train.dtype=bfloat16", "model.remat=full")
    encoder = resolve.encoder_config(given, CONFIG)
    expected = CONFIG.replace(
        dtype="bfloat16", remat="full", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    assert encoder == expected


def test_evaluation_batches_may_be_longer_than_any_of_training(load, tiny_data):
    _, given, _ = load("classification", tiny_data)
    plan = resolve.eval_plan(Plan((8, 24), 16, 0), given.train, 50)
    assert plan.lengths == (8, 24, 32, 40, 48, 50) and plan.batch_size == 16
    assert resolve.eval_plan(Plan((8, 50), 16, 0), given.train, 50).lengths == (8, 50)


def test_evaluations_follow_epochs_but_ten_at_most(load, tiny_data):
    def durations(examples, **train):
        changed = dataclasses.replace(given.train, eval_every=None, **train)
        settings = dataclasses.replace(given, train=changed)
        return resolve.durations(settings, np.full(examples, 10))

    _, given, _ = load("classification", tiny_data)
    length, every = durations(160, steps=None, epochs=4.0, min_steps=0)
    assert (length.steps, every) == (40, 10)
    length, every = durations(16, steps=400)
    assert (length.steps, every) == (400, 40)
    assert durations(1600, steps=7) == (durations(1600, steps=7)[0], 7)
