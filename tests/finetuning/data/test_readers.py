"""Task files as examples: every kind of task, and errors that name file and line."""

import itertools

import pytest
from finetuning.task_files import assert_fails, read

from electra_jax.finetuning.data.readers import columns_read, read_examples
from electra_jax.finetuning.task_table import TASKS, collect_labels


def test_a_jsonl_line_is_an_example_with_its_place_and_number(write):
    path = write("a.jsonl", {"text": "one", "label": 1}, "", {"text": "two", "label": "x"})
    first, second = read("classification", path)
    assert (first.where, first.id, first.texts, first.label) == (f"{path}:1", "0", ("one",), "1")
    assert (second.where, second.id, second.label) == (f"{path}:3", "1", "x")


def test_the_official_glue_tables_are_read(write):
    cola = write("train.tsv", "gj04\t1\t\tThe sailors rode.", "gj04\t0\t*\tThem sailed.")
    assert [(e.texts[0], e.label, e.where[-1]) for e in read("cola", cola)] == [
        ("The sailors rode.", "1", "1"),
        ("Them sailed.", "0", "2"),
    ]
    test = write("test.tsv", "index\tsentence", "0\tBill whistled.")
    assert read("cola", test, labelled=False)[0].texts == ("Bill whistled.",)
    mrpc = write("m.tsv", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", '1\t7\t8\tHe "is\tIt')
    assert [(e.texts, e.label) for e in read("mrpc", mrpc)] == [(('He "is', "It"), "1")]
    qqp = write("q.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "5\t1\t2\ta\tb\t0")
    assert [(e.id, e.texts, e.label) for e in read("qqp", qqp)] == [("5", ("a", "b"), "0")]
    mnli = write("n.tsv", "index\tsentence1\tsentence2\tlabel1\tgold_label", "0\ta\tb\tx\tneutral")
    assert read("mnli", mnli)[0].label == "neutral"


def test_the_columns_that_are_read_are_told(write):
    path = write("a.jsonl", {"title": "t", "content": "c", "label": "x"})
    assert columns_read(TASKS["classification"], path, {}) == {"text": "content", "label": "label"}
    pairs = write("b.jsonl", {"premise": "p", "hypothesis": "h", "gold_label": "entailment"})
    assert columns_read(TASKS["mnli"], pairs, {"label": None}) == {
        "text": "premise",
        "text_pair": "hypothesis",
        "label": "gold_label",
    }
    assert columns_read(TASKS["ner"], write("c.conll", "a O", ""), {}) == {}
    assert_fails("name the first text's column too", "pair", pairs, {"text_pair": "hypothesis"})


def test_numbers_of_tables_are_read(write):
    scores = write("b.tsv", "sentence1\tsentence2\tscore", "a\tb\t3.800")
    assert read("stsb", scores)[0].label == 3.8


@pytest.mark.parametrize(
    "record",
    [
        {"question": "q", "choices": ["a", "b", "c"], "label": 1},
        {"question": "q", "choices": ["a", "b", "c"], "label": "1"},
        {"question": "q", "options": ["a", "b", "c"], "answer": "B"},
        {"question": "q", "options": ["a", "b", "c"], "answer": "b"},
        {
            "question": "q",
            "choices": {"text": ["a", "b", "c"], "label": [*"123"]},
            "answerKey": "2",
        },
        {"question": "q", "choices": {"text": ["a", "b", "c"], "label": [1, 2, 3]}, "answerKey": 2},
        {"context": ["q"], "candidates": ["a", "b", "c"], "label": 1},
    ],
)
def test_choices_however_they_are_written(write, record):
    (example,) = read("multiple_choice", write("a.jsonl", record))
    assert (example.context, example.choices, example.label) == ("q", ("a", "b", "c"), 1)


def test_choices_of_a_table_and_a_passage_beside_the_question(write):
    path = write("a.tsv", "passage\tquestion\tone\ttwo\tlabel", "p\tq\ta\tb\t0")
    (example,) = read("multiple_choice", path, {"choices": "one,two"})
    assert (example.context, example.question, example.choices) == ("p", "q", ("a", "b"))
    assert example.label == 0


def test_a_choice_that_is_a_number_is_not_taken_for_an_index(write):
    sums = [
        {"question": "1+1", "choices": [*"1234"], "label": label} for label in (2, "C", "D", "9")
    ]
    sums[3]["choices"] = [*"5679"]
    assert [e.label for e in read("multiple_choice", write("a.jsonl", *sums))] == [2, 2, 3, 3]
    same = {"question": "0+1", "choices": [*"01"], "label": "1"}
    assert read("multiple_choice", write("b.jsonl", same))[0].label == 1
    sums[0]["label"] = "2"
    assert_fails(
        r'c\.jsonl:1: the label "2" may be the choice "2" or the one of that index, "3"; give the '
        r"letter \(A, B, C, D\)",
        "multiple_choice",
        write("c.jsonl", sums[0]),
    )


def test_turns_of_a_dialogue_are_lines(write):
    path = write(
        "a.jsonl", {"context": ["hi  you\nthere", "ho"], "candidates": ["a", "b"], "label": 0}
    )
    assert read("ranking", path)[0].context == "hi you there\nho"


def test_relations_with_spans_and_with_marks(write):
    spans = {
        "text": "甲在乙",
        "head": {"text": "甲", "span": [0, 1]},
        "tail": {"start": 2, "end": 3},
    }
    path = write("a.jsonl", {**spans, "label": "In"})
    assert read("relation", path)[0].texts == ("$ 甲 $ 在 # 乙 #",)
    words = {"tokens": ["The", "old", "cup", "of", "green", "tea"], "head": [1, 3], "label": "In"}
    path = write("c.jsonl", {**words, "tail": {"span": [4, 6], "text": "green tea"}})
    assert read("relation", path)[0].texts == ("The $ old cup $ of # green tea #",)
    marked = write("b.jsonl", {"sentence": "<e1>a</e1> of <e2>b</e2>", "label": "Other"})
    assert read("semeval2010_8", marked)[0].texts == ("$ a $ of # b #",)


@pytest.mark.parametrize(
    ("task", "record", "message"),
    [
        ("sst2", {"sentence": "a", "label": 2}, 'unknown label "2"; the known labels are: 0, 1'),
        ("sst2", {"sentence": "a", "label": ""}, 'is ""'),
        ("sst2", {"sentence": "a", "label": None}, 'is "null"'),
        ("classification", {"text": "a", "label": " "}, 'is ""'),
        ("classification", {"text": "a", "label": float("nan")}, 'is "nan"'),
        (
            "sst2",
            {"sentence": "a"},
            "no column for the label .*it has sentence: name .*columns.label=.* --columns label=",
        ),
        ("sst2", {"body": "a", "label": 1}, "no column for the text .*it has body, label"),
        (
            "mrpc",
            {"sentence1": "a", "label": 1},
            "no column for the text .*sentence1 \\+ sentence2",
        ),
        ("sst2", {"sentence": " ", "label": 1}, 'the text in column "sentence" is empty'),
        ("sst2", {"sentence": 5, "label": 1}, 'column "sentence" holds 5, not a text'),
        ("stsb", {"sentence1": "a", "sentence2": "b", "score": "high"}, 'not a number: "high"'),
        ("stsb", {"sentence1": "a", "sentence2": "b", "score": None}, 'is "null"'),
        ("regression", {"text": "a", "score": float("nan")}, 'is "nan"'),
        ("multilabel", {"text": "a", "labels": 3}, "labels must be a list of names"),
        ("ner", {"tokens": ["a", "b"], "tags": ["O"]}, "has 2 words and 1 tags"),
        ("ner", {"tokens": [], "tags": []}, "there are no words"),
        ("ner", {"tokens": ["a", None], "tags": ["O", "O"]}, "words must be a list of strings"),
        ("ner", {"tokens": ["a"], "x": ["O"]}, "no column for the tags .*it has tokens, x"),
        (
            "multiple_choice",
            {"question": "q", "choices": ["a", "b"], "label": 2},
            "label 2 is out of",
        ),
        (
            "multiple_choice",
            {"question": "q", "choices": ["a", "b"], "label": "E"},
            '"E" is no choice',
        ),
        ("multiple_choice", {"question": "q", "choices": ["a"], "label": 0}, "at least two texts"),
        ("multiple_choice", {"question": "q", "choices": ["a", 5], "label": 0}, "must be a string"),
        ("multiple_choice", {"choices": ["a", "b"], "label": 0}, "no column for the context"),
        ("ranking", {"context": [], "candidates": ["a", "b"], "label": 0}, "has no turns"),
        ("semeval2010_8", {"sentence": "<e1>a</e1> b", "label": "Other"}, "two entities must be"),
        (
            "relation",
            {"text": "abc", "head": {"span": [0, 9]}, "tail": [1, 2], "label": "x"},
            r"head must have a span .*within the text \(3 characters\)",
        ),
        (
            "relation",
            {"tokens": ["abc", "de"], "head": [0, 1], "tail": [1, 5], "label": "x"},
            r"tail must have a span .* of words within the text \(2 words\)",
        ),
        (
            "relation",
            {"text": "abc", "head": {"span": [0, 1], "text": "b"}, "tail": [1, 2], "label": "x"},
            'head says "b", but characters 0 to 1 of the text are "a"',
        ),
    ],
)
def test_bad_records_are_named_by_file_and_line(write, task, record, message):
    assert_fails(rf"bad\.jsonl:2\b.*{message}", task, write("bad.jsonl", "", record))


# Real data.

REAL = [
    ("cola", "glue_cola"),
    ("sst2", "glue_sst2"),
    ("mrpc", "glue_mrpc"),
    ("stsb", "glue_stsb"),
    ("qqp", "glue_qqp_sub"),
    ("mnli", "glue_mnli_sub"),
    ("qnli", "glue_qnli_sub"),
    ("classification", "cls_ag_news_sub"),
    ("classification", "cls_scicite"),
    ("classification", "imdb_sub"),
    ("classification", "intent_banking77"),
    ("classification", "rec_amazon_review_sub"),
    ("classification", "slu_snips"),
    ("tagging", "slu_snips"),
    ("ner", "ner_ncbi_disease"),
    ("ner", "ner_resume_zh"),
    ("ner", "ner_weibo_zh"),
    ("ner", "ner_wnut17"),
    ("pos", "pos_ud_ewt"),
    ("semeval2010_8", "re_semeval2010_8"),
    ("relation", "re_literature_zh"),
    ("multiple_choice", "mc_arc_easy"),
    ("ranking", "dlg_sgd"),
    ("ranking", "zh_crosswoz"),
    ("classification", "zh_chnsenticorp"),
    ("classification", "zh_csl_category"),
    ("classification", "zh_thucnews_titles"),
    ("pair", "zh_lcqmc"),
    ("pair", "zh_ocnli"),
]


@pytest.mark.parametrize(("name", "folder"), REAL)
def test_real_data_is_read(shared_data, name, folder):
    task = TASKS[name]
    prefix = "rs_" if name == "ranking" else ""
    files = sorted((shared_data / folder).glob(f"{prefix}*.jsonl.gz"))
    assert len(files) >= 2
    for file in files:
        examples = list(itertools.islice(read_examples(task, file), 200))
        assert len(examples) == 200
        assert all("\n" not in e.where and e.where.startswith(str(file)) for e in examples)
        assert len({e.id for e in examples}) == 200
        if file.name.startswith(f"{prefix}train"):
            none = task.kind in ("regression", "multiple_choice", "ranking")
            assert (len(collect_labels(task, examples)) >= 2) == (not none)
