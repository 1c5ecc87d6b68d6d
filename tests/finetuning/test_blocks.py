"""The report's blocks of a fine-tuning run."""

import dataclasses

from finetuning.tiny_task import configuration

from electra_jax.finetuning.blocks import report_blocks
from electra_jax.finetuning.data.task_data import TaskData
from electra_jax.finetuning.result import Result
from electra_jax.interop.load import load_model_folder

RESULT = Result(0, 40, "accuracy", 75.0, {"accuracy": 75.0}, {}, None, 0, 1, 1, 1, 1.0)


def test_scores_then_the_kind_s_errors_and_a_failure_before_both(tiny_model, tiny_data):
    config = configuration("classification", tiny_model, tiny_data)
    tokenizer = load_model_folder(tiny_model).tokenizer
    data = TaskData.load(config, tokenizer, 64, "huggingface")
    predictions = [{"label": e.label} for e in data.eval]
    scores, matrix, classes = report_blocks(data, predictions, RESULT)
    assert scores["title"] == "Scores of step 40"
    assert scores["table"]["rows"] == [["accuracy", "75.0 %"]]
    assert sum(map(sum, matrix["matrix"]["counts"])) == len(data.eval)
    assert [row[0] for row in classes["table"]["rows"]] == ["bad", "good"]
    failed = dataclasses.replace(RESULT, failure="it guesses", test_scores={"accuracy": 70.0})
    blocks = report_blocks(data, predictions, failed)
    assert blocks[0] == {"title": "This run did not learn", "text": "it guesses"}
    assert blocks[1]["table"]["rows"][-1] == ["test accuracy", "70.0 %"]


def test_the_worst_mistakes_are_shown_with_their_texts(tiny_model, tiny_data):
    config = configuration("classification", tiny_model, tiny_data)
    data = TaskData.load(config, load_model_folder(tiny_model).tokenizer, 64, "huggingface")
    other = {"good": "bad", "bad": "good"}
    predictions = [
        {"label": other[e.label], "probabilities": {other[e.label]: 0.5 + i / 100}}
        for i, e in enumerate(data.eval)
    ]
    *_, mistakes = report_blocks(data, predictions, RESULT)
    assert mistakes["title"] == "The worst 20 of 48 that differ, of 48 answers"
    worst = data.eval[-1]
    assert mistakes["table"]["rows"][0] == [
        worst.texts[0],
        worst.label,
        f"{other[worst.label]} (97%)",
    ]
    assert len(mistakes["table"]["rows"]) == 20
