"""Roles of columns, and their values."""

from finetuning.task_files import assert_fails, read


def test_a_record_s_own_id_is_kept(write):
    path = write("a.jsonl", {"id": 8001, "text": "a", "k": "b7"}, {"id": "q", "text": "a", "k": ""})
    assert [e.id for e in read("classification", path, labelled=False)] == ["8001", "q"]
    glue = write("b.jsonl", {"idx": 7, "text": "a"}, {"index": "3", "text": "a"})
    assert [e.id for e in read("classification", glue, labelled=False)] == ["7", "3"]
    own = read("classification", path, {"id": "k"}, labelled=False)
    assert [e.id for e in own] == ["b7", ""]


def test_columns_are_guessed_or_named(write):
    pair = write("a.jsonl", {"premise": "a", "hypothesis": "b", "label": "x"})
    assert read("classification", pair)[0].texts == ("a", "b")
    assert read("pair", pair)[0].texts == ("a", "b")
    assert read("classification", pair, {"text": "hypothesis"})[0].texts == ("b",)
    news = write("b.jsonl", {"title": "t", "text": "x", "label": 1, "topic": "z"})
    assert read("classification", news)[0].texts == ("x",)
    named = {"text": "title", "text_pair": "text", "label": "topic", "id": None}
    (example,) = read("pair", news, named)
    assert (example.texts, example.label) == (("t", "x"), "z")


def test_the_columns_of_training_come_before_the_usual_ones(write):
    path = write("a.jsonl", {"sentence": "s", "question": "q", "label": 1, "stars": 0})
    (guessed,) = read("classification", path)
    (example,) = read("classification", path, usual={"text": "sentence", "label": "stars"})
    assert guessed.texts == ("q", "s") and (example.texts, example.label) == (("s",), "0")
    (other,) = read(
        "classification", write("b.jsonl", {"text": "t", "label": 1}), usual={"text": "x"}
    )
    assert other.texts == ("t",)
    assert_fails(
        r"a\.jsonl:1: the model was trained on one text \(body\), and here question and sentence "
        r"would be read .*--columns text=NAME",
        "classification",
        path,
        usual={"text": "body"},
    )


def test_labels_are_strings_however_they_are_written(write):
    lines = [{"text": "a", "label": label} for label in (1, 1.0, "1", " 1 ", True, 1.5)]
    assert [e.label for e in read("classification", write("a.jsonl", *lines))] == [
        *["1"] * 4,
        "true",
        "1.5",
    ]
    names = write("b.jsonl", {"sentence": "a", "label": "unacceptable"})
    assert read("cola", names)[0].label == "0"


def test_unlabelled_data_is_read_without_its_labels(write):
    path = write("a.jsonl", {"sentence": "a", "label": -1}, {"sentence": "b"})
    assert [e.label for e in read("sst2", path, labelled=False)] == [None, None]
    words = write("b.jsonl", {"text": "a b c"}, {"text": "d", "tags": ["O", "O"]})
    assert [(e.words, e.tags) for e in read("ner", words, labelled=False)] == [
        (("a", "b", "c"), None),
        (("d",), None),
    ]
    choices = write("c.jsonl", {"question": "q", "choices": ["a", "b"]})
    assert read("multiple_choice", choices, labelled=False)[0].label is None


def test_an_unknown_label_of_evaluation_data_is_named(write):
    path = write("dev.jsonl", {"text": "a", "label": "yes"}, {"text": "b", "label": "maybe"})
    message = r'dev\.jsonl:2: unknown label "maybe"; the known labels are: no, yes'
    assert_fails(message, "classification", path, labels=("yes", "no"))
    tags = write("dev.conll", "a O", "", "b B-X")
    assert_fails(r'dev\.conll:3: unknown label "B-X"', "ner", tags, labels=("O", "B-Y"))


def test_columns_that_a_task_does_not_have_are_refused(write):
    path = write("a.jsonl", {"text": "a", "label": 0})
    assert_fails(
        r"data\.columns\.words: the task classification has no such",
        "classification",
        path,
        {"words": "x"},
    )
    assert_fails(
        r"a\.jsonl:1 has no column for the label \(looked for y\)",
        "classification",
        path,
        {"label": "y"},
    )
