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


def test_a_label_that_the_table_of_tasks_does_not_have_is_named(write):
    path = write("train.jsonl", {"text": "a", "label": 1}, {"text": "b", "label": "maybe"})
    assert_fails(r'train\.jsonl:2: unknown label "maybe"; the known labels are: 0, 1', "sst2", path)


def test_labels_of_tables_are_compared_by_what_they_stand_for(write):
    """A table has no types: pandas writes 1 as 1.0 beside a gap, and True in capitals."""
    values = ("1.0", "1", "01", "1.5", "True", "TRUE", "false", "+2.0", "v1.0", "1e3")
    table = write("a.csv", "text,label", *(f"a,{v}" for v in values))
    labels = ["1", "1", "01", "1.5", "true", "true", "false", "2", "v1.0", "1e3"]
    assert [e.label for e in read("classification", table)] == labels
    lines = write("a.jsonl", *({"text": "a", "label": v} for v in values))
    assert [e.label for e in read("classification", lines)] == list(values)


def test_a_list_is_no_label_of_one(write):
    for value in ("['a', 'b']", ["a", "b"]):
        path = write("a.jsonl", {"text": "t", "label": value})
        assert_fails(r"a\.jsonl:1: the label is .*the task multilabel", "classification", path)


def test_words_of_tables_are_lists_written_as_text(write):
    for cell in ("['a', 'b c']", '[""a"", ""b c""]', "['a' 'b c']"):
        path = write("a.csv", "tokens,label", f'"{cell}",x')
        assert read("classification", path)[0].texts == ("a b c",)
    text = write("b.csv", "text,label", "[deleted],x", "['quoted'] he said,y")
    assert [e.texts[0] for e in read("classification", text)] == ["[deleted]", "['quoted'] he said"]


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


def test_a_second_text_may_come_with_a_later_line(write, caplog):
    one, two = {"text": "a", "label": 1}, {"text": "b", "text_pair": "c", "label": 0}
    path = write("a.jsonl", one, two, one, {**two, "text_pair": ""})
    found = [e.texts for e in read("classification", path)]
    assert found == [("a",), ("b", "c"), ("a",), ("b",)]
    assert f"{path}:2 has a second text, text_pair, which lines before it lack" in caplog.text
    assert read("classification", path, {"text": "text"})[1].texts == ("b",)
    other = write("b.jsonl", one, {**one, "premise": "p", "hypothesis": "h"})
    message = r"b\.jsonl:2 has premise and hypothesis, where text alone is read"
    assert_fails(message, "classification", other)
    empty = write("c.jsonl", two, {**two, "text_pair": ""})
    assert_fails(r":2: the text in column .text_pair. is empty", "pair", empty)
    lacking = write("d.jsonl", two, {"body": "x", "label": 1})
    assert_fails(r"d\.jsonl:2 has no column", "classification", lacking)


def test_roles_that_not_every_line_plays(write):
    question = {"question": "q", "choices": ["a", "b"], "label": 0}
    path = write("a.jsonl", question, {**question, "context": "p"}, question)
    found = read("multiple_choice", path)
    assert [(e.context, e.question) for e in found] == [("q", ""), ("p", "q"), ("q", "")]
    marked = {"text": "<e1>a</e1> <e2>b</e2>", "label": "x"}
    spans = {"text": "a b", "head": [0, 1], "tail": [2, 3], "label": "y"}
    found = read("relation", write("b.jsonl", marked, spans, marked))
    assert {e.texts for e in found} == {("$ a $ # b #",)}


def test_spans_and_choices_of_tables_are_lists_written_as_text(write):
    table = write("a.csv", "text,head,tail,label", 'a b,"[0, 1]","{\'span\': [2, 3]}",x')
    assert read("relation", table)[0].texts == ("$ a $ # b #",)
    choices = write("b.csv", "question,choices,label", "q,\"['a', 'b']\",1")
    assert read("multiple_choice", choices)[0].choices == ("a", "b")
    answers = "q,a b,\"{'text': ['b'], 'answer_start': [2]}\""
    table = write("c.csv", "question,context,answers", answers)
    assert read("squad1", table)[0].answers == (("b", 2),)
