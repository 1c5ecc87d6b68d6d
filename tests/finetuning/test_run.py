"""Whole fine-tuning runs on tiny tasks: every kind learns, resumes, exports and reports."""

import json
import logging
import math
import os
import re
import signal

import numpy as np
import pytest
from finetuning import tiny_task
from finetuning.tiny_task import configuration, write_jsonl, write_task
from matrix import representative

from electra_jax.errors import UserError
from electra_jax.finetuning.restarts import finetune
from electra_jax.finetuning.result import (
    read_result,
)
from electra_jax.finetuning.run import FineTuning
from electra_jax.inference.predictor import Predictor
from electra_jax.interop.load import load_model_folder
from electra_jax.modeling.trees import flatten
from electra_jax.training.metrics_log import read_rows

pytestmark = pytest.mark.apart

# What a random encoder reaches in a few steps on each kind, far above a constant answer.
KINDS = {
    "classification": ("classification", tiny_task.classification, 90.0),
    "multilabel": ("multilabel", tiny_task.multilabel, 85.0),
    "regression": ("regression", tiny_task.regression, 80.0),
    "ner": ("tagging", tiny_task.tagging, 90.0),
    "relation": ("relation", tiny_task.relation, 90.0),
    "multiple_choice": ("multiple_choice", tiny_task.multiple_choice, 70.0),
    "ranking": ("ranking", tiny_task.ranking, 70.0),
    "question_answering": ("question_answering", tiny_task.question_answering, 60.0),
}


def same(a, b):
    one, other = flatten(a), flatten(b)
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("task", representative(KINDS, "classification", "question_answering"))
def test_every_kind_of_task_learns_and_ships(task, tiny_model, tmp_path):
    kind, make, least = KINDS[task]
    data = write_task(tmp_path / "data", make, train=240)
    config = configuration(task, tiny_model, data, "--config.train.steps=300")
    if kind == "question_answering":
        config["data"]["max_query_length"] = 8
    (result,) = finetune(config, tmp_path / "run", quiet=True)
    assert result.score >= least, result
    assert result.failure is None and result.restarts == 0
    # The shipped model gives the run's own answers and scores.
    predictor = Predictor(tmp_path / "run/model")
    scores = predictor.evaluate(str(data / "dev.jsonl"))
    for name, value in scores.items():
        assert value == pytest.approx(result.scores[name], abs=1e-3, nan_ok=True)
    kept = [json.loads(x) for x in (tmp_path / "run/predictions.jsonl").read_text().splitlines()]
    assert len(kept) == 48
    if kind != "tagging":  # whose "words" would be taken as separated
        given = [json.loads(x) for x in (data / "dev.jsonl").read_text().splitlines()[:3]]
        for row in given:
            row.pop("label", None)
        for answer, same_answer in zip(predictor.predict(given), kept, strict=False):
            text = {"prediction_text", "label", "labels", "prediction", "score"} & answer.keys()
            assert text and all(
                answer[n]
                == (pytest.approx(same_answer[n], abs=1e-4) if n == "score" else same_answer[n])
                for n in text
            )
    if kind == "question_answering":
        silent = Predictor(tmp_path / "run/model", null_threshold=-1e9)
        assert silent.predict(given)[0]["prediction_text"] == ""
    page = (tmp_path / "run/report.html").read_text()
    assert f"Scores of step {result.step}" in page
    assert ("Confusion matrix" in page) == (kind in ("classification", "relation", "tagging"))


@pytest.mark.parametrize(
    "task",
    representative(
        ["classification", "regression", "ner", "question_answering"], "regression", "ner"
    ),
)
def test_the_reference_s_heads_train_and_ship_too(task, tiny_model, tmp_path, caplog):
    kind, make, _ = KINDS[task]
    data = write_task(tmp_path / "data", make)
    overrides = ("--config.model.head=reference", "--config.loss.reduction=sum")
    config = configuration(task, tiny_model, data, *overrides)
    config["data"]["max_query_length"] = 8
    (result,) = finetune(config, tmp_path / "run", quiet=True)
    loaded = load_model_folder(tmp_path / "run/model")
    assert loaded.kind == "reference" and loaded.task_heads.keys() == {task}
    scores = Predictor(tmp_path / "run/model").evaluate(str(data / "dev.jsonl"))
    assert scores["f1" if kind != "classification" and kind != "regression" else result.metric] == (
        pytest.approx(result.score, abs=1e-3)
    )
    still = ("--config.optimizer.learning_rate=0.0", "--config.train.steps=1", *overrides)
    config = configuration(task, tmp_path / "run/model", data, *still)
    config["data"]["max_query_length"] = 8
    (again,) = finetune(config, tmp_path / "again", quiet=True)
    assert again.score == pytest.approx(result.score, abs=1e-3)
    assert "its head has these labels, and is kept" in caplog.text


def test_a_stopped_run_goes_on_to_the_same_end(tiny_model, tiny_data, tmp_path):
    dropout = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    overrides = [f"--config.model.{name}=0.1" for name in dropout]
    config = configuration("classification", tiny_model, tiny_data, *overrides)
    whole = FineTuning.build(config, tmp_path / "whole", quiet=True).train()

    stopped = FineTuning.build(config, tmp_path / "stopped", quiet=True)
    measure = stopped.run.measure

    class Killed(Exception):
        pass

    def killed_at_the_end(state, step):
        if step == 40:
            raise Killed
        return measure(state, step)

    def interrupted(state, step):
        os.kill(os.getpid(), signal.SIGINT)
        return measure(state, step)

    stopped.run.measure = interrupted
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C: saved step 1 and stopped"):
            stopped.train()
    finally:
        signal.signal(signal.SIGINT, before)
    stopped = FineTuning.build(config, tmp_path / "stopped", quiet=True)
    measure = stopped.run.measure
    stopped.run.measure = killed_at_the_end
    with pytest.raises(Killed):
        stopped.train()
    resumed = FineTuning.build(config, tmp_path / "stopped", quiet=True).train()
    assert resumed.scores == whole.scores and resumed.step == whole.step
    models = [load_model_folder(tmp_path / n / "model").params for n in ("whole", "stopped")]
    assert same(*models)
    steps = [[r["step"] for r in read_rows(tmp_path / n)] for n in ("whole", "stopped")]
    assert steps[0] == steps[1]


def test_the_kept_evaluation_is_not_answered_again(tiny_model, tiny_data, tmp_path):
    config = configuration("classification", tiny_model, tiny_data)
    run = FineTuning.build(config, tmp_path / "run", quiet=True)
    answered, predict = [], run.predict
    run.predict = lambda *a: answered.append(a) or predict(*a)
    result = run.train()
    rows = [r for r in read_rows(tmp_path / "run") if "eval_accuracy" in r]
    assert len(answered) == len(rows) > 0
    assert result.score == max(r["eval_accuracy"] for r in rows if r["step"] > 0)


def test_a_finished_run_is_not_trained_again(tiny_model, tiny_data, tmp_path, caplog):
    config = configuration("classification", tiny_model, tiny_data)
    (first,) = finetune(config, tmp_path / "run", quiet=True)
    before = (tmp_path / "run/model/model.safetensors").stat().st_mtime_ns
    (again,) = finetune(config, tmp_path / "run", quiet=True)
    assert again == first
    config["data"]["test_path"] = str(tiny_data / "dev.jsonl")
    finetune(config, tmp_path / "run", quiet=True)
    assert "finished; score data.test_path with electra-jax evaluate" in caplog.text
    assert (tmp_path / "run/model/model.safetensors").stat().st_mtime_ns == before
    changed = configuration("classification", tiny_model, tiny_data, "--config.train.steps=6")
    with pytest.raises(UserError, match=r"train\.steps"):
        finetune(changed, tmp_path / "run", quiet=True)


def test_the_memory_told_is_that_of_the_largest_batches(tiny_model, tiny_data, tmp_path, capfd):
    """Which come fourth with this seed, after batches of length 24 and 16."""
    told = []
    for shapes in (1, 3):
        overrides = [f"--config.{x}" for x in (f"data.shapes={shapes}", "train.seed=3")]
        overrides.append("--config.train.steps=6")
        config = configuration("classification", tiny_model, tiny_data, *overrides)
        config["train"]["min_steps"] = 0
        finetune(config, tmp_path / str(shapes))
        pattern = r"(with larger batches: |)memory of one device.*together (.*?);"
        told.append(re.findall(pattern, capfd.readouterr().err))
    assert len(told[0]) == len(told[1]) == 1
    assert told[1][0][0] == ""
    assert told[1][-1][1] == told[0][0][1]


def test_the_best_evaluation_is_kept_and_patience_ends_the_run(tiny_model, tiny_data, tmp_path):
    overrides = ("--config.train.eval_every=5", "--config.train.patience=2")
    config = configuration("classification", tiny_model, tiny_data, *overrides)
    run = FineTuning.build(config, tmp_path / "run", quiet=True)
    given = iter([50.0, math.nan, 80.0, 70.0, 80.0, 99.0, 99.0, 99.0, 99.0])
    scored = []

    def scores(predictions):
        if len(scored) < 9:
            scored.append(next(given))
        return {"accuracy": scored[-1]}

    run.scores = scores
    result = run.train()
    # step 0: 50, 5: undefined, 10: 80, 15: 70, 20: 80 → two evaluations without a better one.
    evaluated = [0, 5, 10, 15, 20]
    rows = read_rows(tmp_path / "run")
    assert [r["step"] for r in rows if "eval_accuracy" in r] == evaluated
    assert result.step == 10 and read_result(tmp_path / "run") == result
    assert not list((tmp_path / "run").glob("best-*"))


def test_a_run_that_patience_ended_does_not_go_on(tiny_model, tiny_data, tmp_path):
    """Stopped after its last checkpoint and before its result."""
    overrides = ("--config.train.eval_every=5", "--config.train.patience=1")
    config = configuration("classification", tiny_model, tiny_data, *overrides)
    first = FineTuning.build(config, tmp_path / "run", quiet=True)
    given = iter([50.0, 80.0, 70.0])
    first.scores = lambda predictions: {"accuracy": next(given)}  # and then there is none left
    with pytest.raises(StopIteration):
        first.train()
    again = FineTuning.build(config, tmp_path / "run", quiet=True)
    result = again.train()
    assert result.step == 5
    assert max(r["step"] for r in read_rows(tmp_path / "run")) == 10


def test_lora_starts_as_its_base(tiny_model, tiny_data, tmp_path):
    """Logits at step 0 are bit-equal to the full network's with the same head."""
    full = configuration("classification", tiny_model, tiny_data)
    low = configuration("classification", tiny_model, tiny_data, "--config.tune.method=lora")
    logits = []
    for i, config in enumerate((full, low)):
        run = FineTuning.build(config, tmp_path / str(i), quiet=True)
        trees = run.run.initial(*run.objective.init(_init_key(0)))
        features = [f for e in run.data.eval for f in run.data.codec.encode(e, False)]
        logits.append(np.stack([x["logits"] for x in run.forward(trees[0], features, trees[1])]))
    np.testing.assert_array_equal(*logits)


def _init_key(seed):
    from electra_jax.training.step import run_key

    return run_key(seed, "init")


def test_freezing_holds_what_it_names(tiny_model, tiny_data, tmp_path):
    config = configuration("classification", tiny_model, tiny_data)
    config["optimizer"]["freeze_layers"] = 1
    config["optimizer"]["freeze"] = ("output/dense/bias",)
    (result,) = finetune(config, tmp_path / "run", quiet=True)
    layer = 4 * 32 * 32 + 4 * 32 + 2 * 32 * 48 + 48 + 32 + 4 * 32
    assert result.trained_without_head == layer - 2 * 32  # two such biases in a layer
    assert result.trained_parameters == result.trained_without_head + 32 * 32 + 32 + 32 * 2 + 2
    before = flatten(load_model_folder(tiny_model).params)
    after = flatten(load_model_folder(tmp_path / "run/model").params)
    kernel = "electra/encoder/layer/intermediate/dense/kernel"
    assert np.array_equal(after[kernel][0], before[kernel][0])
    assert not np.array_equal(after[kernel][1], before[kernel][1])
    words = "electra/embeddings/word_embeddings"
    assert np.array_equal(after[words], before[words])


WRONG = {
    "init is not set": {"init": None},
    "data.path is not set": {"data.path": None},
    "no training file": {"data.path": "{empty}"},
    "64 positions": {"data.max_length": 65},
    "model.head": {"model.head": "google"},
    "loss.reduction": {"loss.reduction": "median"},
    "train.accumulate": {"loss.reduction": "sum", "train.accumulate": 2},
    "3 numbers and the task 2": {"loss.class_weights": (1.0, 2.0, 3.0)},
    "label_smoothing": {"loss.label_smoothing": -0.1},
    "tune.method": {"tune.method": "prompt"},
    "train.steps or train.epochs": {"train.steps": None, "train.epochs": None},
    "both set": {"train.epochs": 1.0},
    "seeds=0": {"seeds": 0},
    "train.select": {"train.select": "worst"},
    "train.batch_size=0": {"train.batch_size": 0},
    "data.shapes=0": {"data.shapes": 0},
    "class_weights='balance'": {"loss.class_weights": "balance"},
    "class_weights=2.0: give": {"loss.class_weights": 2.0},
    "label_smoothing=2": {"loss.label_smoothing": 2.0},
    "eval_batch_size=0": {"train.eval_batch_size": 0},
    "classifier_dropout=2": {"model.classifier_dropout": 2.0},
    "hidden_dropout_prob=3": {"model.hidden_dropout_prob": 3.0},
    "no regular expression": {"tune.method": "lora", "tune.targets": "("},
    "freeze_layers": {"optimizer.freeze_layers": 9},
    "layer_0.* is in no parameter's name": {"optimizer.freeze": ("encoder/layer_0/",)},
    "train.patience=-1: must be at least 0": {"train.patience": -1},
    "train.restarts=-1": {"train.restarts": -1},
    "train.eval_every=0": {"train.eval_every": 0},
    "class_weights are all 0": {"loss.class_weights": (0, 0)},
    "nothing is trained": {"optimizer.freeze_layers": 2, "optimizer.freeze": ("classifier",)},
    "data.train_examples=-5": {"data.train_examples": -5},
    "data.n_best=0": {"data.n_best": 0},
    "data.on_bad_answer='ignore': choose one of": {"data.on_bad_answer": "ignore"},
    "data.threshold=50": {"data.threshold": 50.0},
    "nothing.jsonl": {"data.test_path": "{empty}/nothing.jsonl"},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_settings_are_one_clear_error(message, tiny_model, tiny_data, tmp_path):
    (tmp_path / "empty").mkdir()
    config = configuration("classification", tiny_model, tiny_data)
    for key, value in WRONG[message].items():
        *parents, name = key.split(".")
        node = config
        for parent in parents:
            node = node[parent]
        empty = str(tmp_path / "empty")
        node[name] = value.format(empty=empty) if isinstance(value, str) else value
    with pytest.raises(UserError, match=message):
        finetune(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run/model").exists()


def test_training_and_evaluating_on_one_file_is_warned_of(tiny_model, tiny_data, tmp_path, caplog):
    config = configuration("classification", tiny_model, tiny_data)
    config["data"]["eval_path"] = str(tiny_data / "train.jsonl")
    with caplog.at_level(logging.WARNING):
        FineTuning.build(config, tmp_path / "run", quiet=True)
    assert "are the same" in caplog.text


def test_questions_without_an_answer_are_told_where_the_task_has_none(tiny_model, tmp_path, caplog):
    asked = [
        {
            "question": "a day",
            "context": "a film",
            "answers": {"text": ["film"][:number], "answer_start": [2][:number]},
        }
        for number in (0, 1)
    ]
    data = write_jsonl(tmp_path / "train.jsonl", asked)
    for row, (name, told) in enumerate((("squad2", False), ("cmrc2018", True))):
        config = configuration(name, tiny_model, data)
        config["data"]["max_query_length"] = 8
        FineTuning.build(config, tmp_path / str(row), quiet=True)
        assert ("1 of 2 questions have no answer" in caplog.text) == told


def test_other_labels_of_evaluation_data_count_as_missed_and_are_warned_of(
    tiny_model, tiny_data, tmp_path, caplog
):
    rows = [{"text": "a film", "label": "good"}, {"text": "a day", "label": "middling"}]
    other = write_jsonl(tmp_path / "dev.jsonl", rows)
    config = configuration("classification", tiny_model, tiny_data, "--config.train.steps=1")
    config["data"]["eval_path"] = str(other)
    result = FineTuning.build(config, tmp_path / "run", quiet=True).train()
    assert result.scores["accuracy"] <= 50
    sentence = '1 of 2 labels do not occur in training (1 × "middling", first at'
    assert caplog.text.count(sentence) == 2  # before the first step, and at the end
    other.write_text(other.read_text().replace("good", "so"))
    with pytest.raises(UserError, match=r"dev\.jsonl:1.*so.*bad, good"):
        FineTuning.build(config, tmp_path / "other", quiet=True)


def test_labels_are_those_of_the_whole_file_and_targets_those_that_are_trained(
    tiny_model, tmp_path, caplog
):
    rows = [{"text": "a film", "label": name} for name in ("a", "a", "b", "b")]
    (tmp_path / "sorted").mkdir()
    write_jsonl(tmp_path / "sorted/train.jsonl", rows)
    config = configuration("classification", tiny_model, tmp_path / "sorted")
    config["data"]["train_examples"] = 2
    with caplog.at_level(logging.WARNING):
        run = FineTuning.build(config, tmp_path / "run", quiet=True)
    assert run.data.codec.labels == ("a", "b") and len(run.data.train) == 2
    assert "no evaluation data" in caplog.text and "by its training loss alone" in caplog.text
    config["loss"]["label_smoothing"] = 0.1
    FineTuning.build(config, tmp_path / "run", quiet=True)
    assert "is judged by nothing" in caplog.text
    config["loss"]["label_smoothing"] = 0.0
    write_jsonl(tmp_path / "sorted/dev_matched.jsonl", rows)
    assert len(FineTuning.build(config, tmp_path / "run", quiet=True).data.eval) == 4
    data = write_task(tmp_path / "scores", tiny_task.regression)
    config = configuration("regression", tiny_model, data)
    scored = FineTuning.build(config, tmp_path / "run", quiet=True)
    assert scored.data.settings.target_range == (-2.0, 2.0)
    targets = [float(f["target"]) for f in scored.data.features]
    assert (min(targets), max(targets)) == (0.0, 1.0)
    write_jsonl(data / "train.jsonl", [{"text": "a film", "score": 3}] * 20)
    with pytest.raises(UserError, match="all 20 targets are 3"):
        FineTuning.build(config, tmp_path / "run", quiet=True)


def test_the_log_says_what_is_trained_and_how_it_is_batched(tiny_model, tiny_data, tmp_path):
    config = configuration("classification", tiny_model, tiny_data, "--config.tune.method=bitfit")
    lines = "\n".join(FineTuning.build(config, tmp_path / "run", quiet=True).describe())
    assert "160 training and 48 evaluation examples" in lines
    assert "compiled shape" in lines and "% padding" in lines and "without the head" in lines
    assert "columns: text from text, label from label" in lines


def test_texts_to_evaluate_may_be_longer_than_any_trained_on(tiny_model, tiny_data, tmp_path):
    rows = [{"text": "the a film day " * 7 + word, "label": label} for word, label in
            (("bright", "good"), ("dull", "bad"))]  # fmt: skip
    config = configuration("classification", tiny_model, tiny_data)
    config["data"]["eval_path"] = str(write_jsonl(tmp_path / "dev.jsonl", rows))
    (result,) = finetune(config, tmp_path / "run", quiet=True)
    assert "accuracy" in result.scores
