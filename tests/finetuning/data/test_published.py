"""Published data sets in the form in which they can be downloaded."""

import json

import pytest
from finetuning.task_files import assert_fails, read

from electra_jax.finetuning.kinds.table import find_kind
from electra_jax.finetuning.task_table import TASKS


def test_copa(write):
    record = {"premise": "It rained.", "choice1": "a", "choice2": "b", "question": "effect"}
    path = write(
        "a.jsonl", {**record, "label": 1, "idx": 4}, {**record, "question": "cause", "label": 0}
    )
    first, second = read("multiple_choice", path)
    assert (first.context, first.choices, first.label, first.id) == (
        "It rained.",
        ("a", "b"),
        1,
        "4",
    )
    assert (first.question, second.question) == (
        "What happened as a result?",
        "What was the cause?",
    )
    given = find_kind("multiple_choice").input(
        TASKS["multiple_choice"], record, "input 0", 0, {}, {}
    )
    assert given.choices == ("a", "b") and given.question == first.question


def test_commonsense_qa_and_arc(write):
    choices = [{"label": "A", "text": "sea"}, {"label": "B", "text": "hill"}]
    record = {
        "id": "x1",
        "question": {"stem": "Where?", "choices": choices, "question_concept": "c"},
    }
    path = write("a.jsonl", {**record, "answerKey": "B"})
    (example,) = read("multiple_choice", path)
    assert (example.context, example.choices, example.label) == ("Where?", ("sea", "hill"), 1)
    assert read("multiple_choice", write("b.jsonl", record), labelled=False)[0].id == "x1"


def test_tacred(tmp_path):
    record = {
        "id": "61", "token": ["Ann", "Lee", "runs", "Acme"], "relation": "per:employee_of",
        "subj_start": 3, "subj_end": 3, "obj_start": 0, "obj_end": 1,
    }  # fmt: skip
    path = tmp_path / "train.json"
    path.write_text(json.dumps([record, {**record, "relation": "no_relation"}]))
    first, second = read("relation", path)
    assert first.texts == ("# Ann Lee # runs $ Acme $",) and second.label == "no_relation"
    assert (first.label, first.id, first.where) == ("per:employee_of", "61", f"{path}: [0]")


def test_fewrel(tmp_path):
    record = {
        "tokens": ["Rome", "lies", "in", "Italy"],
        "h": ["rome", "Q220", [[0]]],
        "t": ["italy", "Q38", [[3], [2, 3]]],
    }
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"P17": [record], "P931": [record]}))
    first, second = read("relation", path)
    assert first.texts == ("$ Rome $ lies in # Italy #",)
    assert (first.label, second.label, first.where) == ("P17", "P931", f"{path}: P17[0]")


def test_spans_of_characters_as_doccano_exports_them(write):
    text = "Ann-Marie Lee saw New York."
    spans = [[18, 26, "LOC"], [0, 3, "PER"], [4, 13, "PER"]]
    objects = [{"start_offset": s, "end_offset": e, "label": n, "id": 1} for s, e, n in spans]
    for record in ({"text": text, "label": spans}, {"text": text, "entities": objects}):
        path = write(
            "a.jsonl", record, {"text": "No one.", next(iter(record.keys() - {"text"})): []}
        )
        first, second = read("ner", path)
        assert first.words == ("Ann", "-", "Marie", "Lee", "saw", "New", "York", ".")
        assert first.tags == ("B-PER", "O", "B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O")
        assert second.words == ("No", "one", ".") and set(second.tags) == {"O"}
        assert read("ner", path, labelled=False)[0].text == text
    for spans in ([[0, 5, "A"], [4, 6, "B"]], [[0, 99, "A"]], [[2, 2, "A"]]):
        path = write("b.jsonl", {"text": text, "label": spans})
        assert_fails(r"b\.jsonl:1: label hold spans that overlap, are empty or leave", "ner", path)


def test_kaggle_s_rows_of_words(write):
    rows = [
        "Sentence #,Word,POS,Tag",
        "Sentence: 1,Rome,NNP,B-geo",
        ",is,VBZ,O",
        "Sentence: 2,Ann,NNP,B-per",
    ]
    path = write("a.csv", *rows)
    first, second = read("ner", path)
    assert (first.words, first.tags, first.where[-2:]) == (("Rome", "is"), ("B-geo", "O"), ":2")
    assert (second.words, second.tags) == (("Ann",), ("B-per",))
    assert [e.words for e in read("ner", path, labelled=False)] == [("Rome", "is"), ("Ann",)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text": "b"}', "is not one JSON value .*must be named .jsonl"),
        ('{"text": "a"}', "task data in .json is a list of records"),
        ("[1]", r": \[0\] is not a JSON object: 1"),
        ("[]", "there are no examples in it"),
    ],
)
def test_other_json_is_named(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    assert_fails(message, "classification", tmp_path / "a.json")
