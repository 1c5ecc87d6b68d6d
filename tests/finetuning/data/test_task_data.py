"""The task data of a run: files, settings, and everything that is read before the first step."""

import dataclasses
import logging

import pytest
from finetuning.letters import LETTERS

from electra_jax.config.finetuning import TaskDataSettings
from electra_jax.errors import UserError
from electra_jax.finetuning.data.readers import has_header
from electra_jax.finetuning.data.task_data import Files, TaskData, codec_settings, find_files
from electra_jax.finetuning.task_table import TASKS


def data(**given):
    fields = dataclasses.fields(TaskDataSettings)
    defaults = {
        f.name: f.default_factory() if f.default is dataclasses.MISSING else f.default
        for f in fields
    }
    return {**defaults, **given}


def load(task, positions=16, **given):
    return TaskData.load({"task": task, "data": data(**given)}, LETTERS, positions, "huggingface")


def test_files_of_a_folder_are_found_by_their_names(tmp_path):
    for name in ("train.csv", "train.tsv.gz", "validation.jsonl", "dev.json", "test.conll", "x"):
        (tmp_path / name).touch()
    found = find_files(TASKS["sst2"], data(path=str(tmp_path)))
    names = [path and path.rpartition("/")[2] for path in dataclasses.astuple(found)]
    assert names == ["train.tsv.gz", "dev.json", "test.conll"]
    given = data(path=str(tmp_path), eval_path="mine", test_path="other")
    assert dataclasses.astuple(find_files(TASKS["sst2"], given))[1:] == ("mine", "other")
    assert find_files(TASKS["sst2"], data(path="a.tsv")) == Files("a.tsv")


def test_data_sets_are_split_as_the_task_says(tmp_path):
    assert find_files(TASKS["mnli"], data()) == Files(
        "tfds:glue/mnli:train", "tfds:glue/mnli:validation_matched", "tfds:glue/mnli:test_matched"
    )
    assert find_files(TASKS["sst2"], data(path="tfds:x:half")) == Files("tfds:x:half")
    with pytest.raises(UserError, match=r"data\.path is not set"):
        find_files(TASKS["classification"], data())
    with pytest.raises(
        UserError, match=r"no training file in this folder \(train\.jsonl.*; it has"
    ):
        find_files(TASKS["sst2"], data(path=str(tmp_path)))


def test_the_length_is_the_task_s_as_far_as_the_model_goes():
    assert codec_settings(TASKS["ner"], data(), 512).max_length == 256
    assert codec_settings(TASKS["ner"], data(), 64).max_length == 64
    assert codec_settings(TASKS["ner"], data(max_length=32), 64).max_length == 32
    with pytest.raises(UserError, match=r"data\.max_length=65 and the model has 64 positions"):
        codec_settings(TASKS["ner"], data(max_length=65), 64)
    with pytest.raises(UserError, match=r"data\.max_length=7: must be at least 8"):
        codec_settings(TASKS["ner"], data(), 7)


def test_pairs_are_doubled_where_the_task_or_the_configuration_says_so():
    assert codec_settings(TASKS["mrpc"], data(), 16).double_unordered
    assert not codec_settings(TASKS["mrpc"], data(double_unordered=False), 16).double_unordered
    assert codec_settings(TASKS["pair"], data(double_unordered=True), 16).double_unordered


def test_examples_features_and_columns_of_a_run(write, caplog):
    rows = [{"text": "a " * n, "label": "xy"[n % 2]} for n in range(1, 21)]
    train = write("train.jsonl", *rows)
    found = load("classification", path=train, eval_path=train, train_examples=18)
    assert (len(found.train), len(found.eval), len(found.features)) == (18, 20, 18)
    assert found.codec.labels == ("x", "y")
    assert found.columns == {"text": "text", "label": "label"}
    assert found.truncated == 4  # of more than 14 words
    assert "are the same: the scores will say nothing" in caplog.text
    assert found.metric == "accuracy" and found.kind.name == "classification"
    assert found.constant_loss() == pytest.approx(0.6931, abs=1e-4)


def test_words_that_a_tagger_loses_by_cutting_are_counted(write):
    lines = [["a O"] * 20, ["b B-X"] * 3]
    train = write("train.conll", *lines[0], "", *lines[1])
    found = load("ner", path=train)
    assert (found.truncated, found.missed_words, found.columns) == (1, 6, {})


def test_tasks_and_files_that_cannot_be_trained_on_are_refused(write, caplog):
    with pytest.raises(UserError, match="task=ax has no training data: train mnli"):
        load("ax", path="x")
    train = write("train.jsonl", {"text": "a", "label": 0}, {"text": "b", "label": 1})
    dev = write("dev.jsonl", {"text": "a", "label": 2})
    with pytest.raises(UserError, match=r'dev\.jsonl:1: unknown label "2"'):
        load("classification", path=train, eval_path=dev)


def test_entities_that_do_not_fit_together_are_warned_of(write, caplog):
    text = "<e1>a</e1> " + "b " * 20 + "<e2>c</e2>"
    train = write("train.jsonl", {"text": text, "label": 0}, {"text": text, "label": 1})
    with caplog.at_level(logging.WARNING):
        load("relation", path=train)
    assert "in 2 texts the two entities do not fit into 16 tokens together" in caplog.text


def test_columns_that_are_not_read_are_said(write):
    """AG News: the title alone is read unless the description is named."""
    rows = ["label,title,description", "1,a,b", "2,c,d"]
    train = write("train.csv", *rows)
    assert load("classification", path=train).describe()[:2] == [
        "columns: text from title, label from label",
        "columns that are not read: description (data.columns.* names others)",
    ]
    both = {"text": "title", "text_pair": "description"}
    found = load("classification", path=train, columns=both)
    assert (
        found.describe()[0]
        == "columns: text from title, text_pair from description, label from label"
    )
    assert found.unread == () and found.train[0].texts == ("a", "b")


def test_a_table_without_a_header_is_trained_on_by_number(write):
    train = write("train.csv", "x,one", "y,two")
    columns = {"text": "1", "label": "0"}
    found = load("classification", path=train, columns=columns, header="no")
    assert [(e.label, e.texts) for e in found.train] == [("x", ("one",)), ("y", ("two",))]
    assert not has_header(found.task) and found.columns == {"text": "1", "label": "0"}
