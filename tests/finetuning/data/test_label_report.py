"""Labels that are missing or that training has not seen."""

import json
import math

import pytest
from finetuning.letters import LETTERS
from finetuning.task_files import assert_fails, read

from electra_jax.errors import UserError
from electra_jax.finetuning.data.label_report import LabelReport
from electra_jax.finetuning.data.task_data import TaskData, load_examples
from electra_jax.finetuning.data.values import Missing
from electra_jax.finetuning.task_table import TASKS, collect_labels

NONE = [None, math.nan, "", "-", -1, "-1", "nan", -100, "-100"]


def texts(*labels):
    return [{"text": "a", "label": label} for label in labels]


def load(task, path, missing="skip"):
    return load_examples(TASKS[task], path, {}, missing=missing)


@pytest.mark.parametrize("value", NONE)
@pytest.mark.parametrize("task", ["classification", "pair", "mnli", "sst2", "relation"])
def test_examples_without_a_label_are_left_out_and_counted(write, task, value, caplog):
    names = ["neutral", "entailment"] if task == "mnli" else [0, 1]
    extra = {"text": "<e1>a</e1> <e2>b</e2>"} if task == "relation" else {}
    records = [
        {"sentence1": "a", "sentence2": "b", "text": "a", **extra, "label": label}
        for label in (names[0], value, names[1], value)
    ]
    for record in records:
        if task not in ("pair", "mnli"):
            del record["sentence1"], record["sentence2"]
    path = write("a.jsonl", *records)
    assert [e.label for e in load(task, path)] == [str(n) for n in names]
    assert "2 of 4 labels are missing (2 × " in caplog.text
    assert "first at " + path + ":2); they are left out" in caplog.text
    with pytest.raises(UserError, match=r"a\.jsonl:2 has no label"):
        load(task, path, "fail")


def test_a_table_s_empty_cells_are_missing_labels(write, caplog):
    path = write("a.csv", "text,label", "a,x", "b,", "c,nan", "d,y")
    assert [e.label for e in load("classification", path)] == ["x", "y"]
    assert '1 × "", first at' in caplog.text and '1 × "nan"' in caplog.text


def test_missing_targets_and_choices_are_left_out_too(write, caplog):
    scores = write("a.csv", "text,score", "a,1.5", "b,", "c,nan", "d,-1", "e,-100")
    assert [e.label for e in load("regression", scores)] == [1.5, -1, -100]
    assert_fails(r'not a number: "1_0"', "regression", write("b.csv", "text,score", "a,1_0"))
    question = {"question": "q", "choices": ["a", "b"]}
    lines = [{**question, "label": label} for label in (0, -1, None, "", "B")]
    assert [e.label for e in load("multiple_choice", write("c.jsonl", *lines))] == [0, 1]
    dash = write("d.jsonl", {"question": "1-2", "choices": ["-", "-1"], "label": "-1"})
    assert [e.label for e in load("multiple_choice", dash)] == [1]


def test_words_without_a_tag_are_left_out_and_their_sentence_is_not(write, caplog):
    path = write(
        "a.jsonl",
        {"tokens": ["a", "b", "c"], "tags": ["B-X", -100, "O"]},
        {"tokens": ["a", "b"], "tags": [None, None]},
    )
    first, second = load("ner", path)
    assert first.tags == ("B-X", "-100", "O") and isinstance(first.tags[1], Missing)
    assert collect_labels(TASKS["ner"], [first, second]) == ("B-X", "O")
    assert '3 of 5 labels are missing (2 × "null", first at' in caplog.text
    with pytest.raises(UserError, match=r'a\.jsonl:1 has no label: "-100"'):
        load("ner", path, "fail")
    chunks = write("b.conll", "a B-NP", "b -100", "c I-NP", "d O")
    assert load("chunking", chunks)[0].tags == ("S-NP", "-100", "S-NP", "O")


@pytest.mark.parametrize(
    ("labels", "is_class"),
    [
        (("-1", "1", "-1.0"), True),  # of two sides
        (("-2", "-1", "0", "1"), True),  # of a scale
        (("-1", "1", "0"), False),
        (("-1", "1", "2", "3"), False),
        (("-1", "x", "y"), False),
    ],
)
def test_minus_one_is_a_class_beside_other_negative_numbers_and_1_alone(
    write, labels, is_class, caplog
):
    path = write("a.csv", "text,label", *(f"a,{label}" for label in labels))
    names = [label.removesuffix(".0") for label in labels]
    found = [e.label for e in load("classification", path)]
    assert found == [name for name in names if is_class or name != "-1"]
    assert ("the label -1 is read as a class" in caplog.text) == is_class
    assert ("labels are missing" in caplog.text) != is_class


def test_what_training_took_for_a_class_is_one_in_evaluation(write, caplog):
    path = write("dev.jsonl", *texts(-1, 1, "-", -100))
    assert [e.label for e in read("classification", path, labels=("-1", "1"))] == ["-1", "1"]
    assert "2 of 4 labels are missing" in caplog.text
    assert [e.label for e in read("classification", path, labels=("-", "1"))] == ["1", "-"]


def test_missing_labels_are_classes_where_they_are_to_be_kept(write):
    path = write("a.jsonl", *texts(-1, "-", 0))
    assert [e.label for e in load("classification", path, "keep")] == ["-1", "-", "0"]
    with pytest.raises(UserError, match=r'b\.jsonl:1 has no label: "null"'):
        load("classification", write("b.jsonl", *texts(None, "x")), "keep")
    with pytest.raises(UserError, match=r'c\.jsonl:1 has no label: "nan"'):
        load("regression", write("c.jsonl", {"text": "a", "score": math.nan}), "keep")
    tags = write("d.jsonl", {"tokens": ["a", "b"], "tags": [-100, "X"]})
    assert load("pos", tags, "keep")[0].tags == ("-100", "X")


def test_a_file_without_any_label_is_refused(write):
    path = write("a.jsonl", *texts(-1, -1))
    with pytest.raises(
        UserError, match=r"none of its labels is one \(the first, at .*:1, is \"-1\""
    ):
        read("classification", path, labels=("0", "1"))


def test_labels_that_training_lacks_are_counted_and_scored_as_missed(write, caplog):
    path = write("dev.jsonl", *texts("yes", "maybe", "no", "maybe"))
    assert [e.label for e in read("classification", path, labels=("yes", "no"))] == [
        *("yes", "maybe", "no", "maybe")
    ]
    assert '2 of 4 labels do not occur in training (2 × "maybe", first at' in caplog.text
    tags = write("dev.conll", "a O", "", "b B-X")
    assert len(read("ner", tags, labels=("O", "B-Y"))) == 2
    assert f'1 × "B-X", first at {tags}:3' in caplog.text
    several = write("m.jsonl", {"text": "a", "labels": ["x", "z"]})
    assert read("multilabel", several, labels=("x", "y"))[0].label == ("x", "z")


def test_a_file_of_other_labels_alone_is_refused(write):
    path = write("dev.jsonl", *texts("a", "b"))
    message = r'dev\.jsonl:1: unknown label "a"; the known labels are: no, yes'
    assert_fails(message, "classification", path, labels=("yes", "no"))


def test_labels_of_models_that_have_them_as_a_table_wrote_them(write):
    """Earlier versions learnt "1.0" and "True" from tables."""
    path = write("dev.csv", "text,label", "a,1.0", "b,0.0", "c,1")
    assert [e.label for e in read("classification", path, labels=("0.0", "1.0"))] == [
        *("1.0", "0.0", "1.0")
    ]


def test_what_is_counted_can_be_had_in_place_of_a_warning(write, caplog):
    report = LabelReport("dev")
    path = write("dev.jsonl", *texts("x", "z", -1))
    read("classification", path, labels=("x", "y"), report=report)
    assert (report.labels, dict(report.missing), dict(report.unseen)) == (3, {"-1": 1}, {"z": 1})
    assert report.first == {"-1": f"{path}:3", "z": f"{path}:2"} and not caplog.text


def test_a_run_says_its_labels_and_what_is_wrong_with_those_of_evaluation(write, caplog):
    train = write("train.jsonl", *texts(*"xxy", None))
    dev = write("dev.jsonl", *texts(*"xz"))
    data = {"path": train, "eval_path": dev, "missing_labels": "skip"}
    from finetuning.data.test_task_data import data as settings

    config = {"task": "classification", "data": settings(**data)}
    found = TaskData.load(config, LETTERS, 16, "huggingface")
    assert found.describe() == [
        "columns: text from text, label from label",
        "labels (2) in training: x 2, y 1",
    ]
    assert len(found.train) == 3 and len(found.eval) == 2
    (note,) = found.notes
    assert '1 of 2 labels do not occur in training (1 × "z"' in note and note in caplog.text
    json.dumps(found.notes)
