"""Readers: every format and kind of data, and what is said about data that is wrong."""

import gzip
import itertools
import json
import tracemalloc

import pytest

from electra_jax.errors import UserError
from electra_jax.finetuning.data.entity_marks import mark_entities, mark_spans
from electra_jax.finetuning.data.readers import (
    columns_read,
    read_examples,
    read_records,
    same_content,
)
from electra_jax.finetuning.data.words import split_words
from electra_jax.finetuning.task_table import TASKS, collect_labels


@pytest.fixture
def write(tmp_path):
    """Writes a file: records as jsonl, or text as it is."""

    def write(name, *content):
        file = tmp_path / name
        lines = [c if isinstance(c, str) else json.dumps(c, ensure_ascii=False) for c in content]
        data = "".join(line + "\n" for line in lines).encode()
        file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(file)

    return write


def read(task, path, columns=None, **options):
    return list(read_examples(TASKS[task], path, columns, **options))


def assert_fails(match, task, path, columns=None, **options):
    with pytest.raises(UserError, match=match) as caught:
        read(task, path, columns, **options)
    assert "\n" not in str(caught.value)


# What is read.


def test_a_jsonl_line_is_an_example_with_its_place_and_number(write):
    path = write("a.jsonl", {"text": "one", "label": 1}, "", {"text": "two", "label": "x"})
    first, second = read("classification", path)
    assert (first.where, first.id, first.texts, first.label) == (f"{path}:1", "0", ("one",), "1")
    assert (second.where, second.id, second.label) == (f"{path}:3", "1", "x")


def test_a_record_s_own_id_is_kept(write):
    path = write("a.jsonl", {"id": 8001, "text": "a", "k": "b7"}, {"id": "q", "text": "a", "k": ""})
    assert [e.id for e in read("classification", path, labelled=False)] == ["8001", "q"]
    glue = write("b.jsonl", {"idx": 7, "text": "a"}, {"index": "3", "text": "a"})
    assert [e.id for e in read("classification", glue, labelled=False)] == ["7", "3"]
    own = read("classification", path, {"id": "k"}, labelled=False)
    assert [e.id for e in own] == ["b7", ""]


def test_tables_are_read_with_and_without_quotes(write):
    tsv = write("a.tsv", "sentence\tlabel", 'he said "no\t1', "", "plain, text\t0")
    assert [(e.texts, e.label, e.where[-2:]) for e in read("sst2", tsv)] == [
        (('he said "no',), "1", ":2"),
        (("plain, text",), "0", ":4"),
    ]
    csv = write("a.csv", "label,text", '1,"one, ""two""', 'three"', "0,four")
    assert [(e.texts, e.label, e.where[-2:]) for e in read("classification", csv)] == [
        (('one, "two"\nthree',), "1", ":2"),
        (("four",), "0", ":4"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", [{"sentence": "x y", "label": "0"}]),
        ("a.tsv.gz", ["sentence\tlabel", "x y\t0"]),
        ("a.csv.gz", ["sentence,label", "x y,0"]),
        ("a.tsv", ["\ufeffsentence\tlabel\r", "x y\t0\r"]),
    ],
)
def test_packed_files_byte_order_marks_and_line_ends(write, name, content):
    (example,) = read("sst2", write(name, *content))
    assert (example.texts, example.label) == (("x y",), "0")


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


def test_running_text_becomes_words_with_their_places(write):
    text = "In  New York, J. Smith's 我爱北京。"
    (example,) = read("ner", write("a.jsonl", {"text": text}), labelled=False)
    expected = ["In", "New", "York", ",", "J.", "Smith", "'s", *"我爱北京。"]
    assert list(example.words) == expected == [text[a:b] for a, b in example.offsets]
    assert example.text == text
    # Words that somebody has separated stay as they are.
    given = {"tokens": "a, b.", "id": 1}, {"text": "a, b.", "tags": "O O"}
    for record in given:
        (kept,) = read("ner", write("b.jsonl", record), labelled=False)
        assert kept.words == ("a,", "b.") and kept.text is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(U.S.) e.g. no.", ["(", "U.S.", ")", "e.g.", "no", "."]),
        ("... \u201cHi!\u201d", [".", ".", ".", "\u201c", "Hi", "!", "\u201d"]),
        ("don't 3.5 $10 a-b", ["don't", "3.5", "$10", "a-b"]),
        ("東京タワーで x", [*"東京タワーで", "x"]),
        ("'s", ["'", "s"]),
        (" ", []),
    ],
)
def test_words_of_running_text(text, words):
    assert [text[a:b] for a, b in split_words(text)] == words


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


def test_several_labels_and_numbers(write):
    path = write("a.jsonl", {"text": "a", "labels": ["x", 2, "x"]}, {"text": "b", "labels": []})
    assert [e.label for e in read("multilabel", path)] == [("x", "2"), ()]
    table = write("a.tsv", "text\tlabels", "a\tx, y", "b\t")
    assert [e.label for e in read("multilabel", table)] == [("x", "y"), ()]
    scores = write("b.tsv", "sentence1\tsentence2\tscore", "a\tb\t3.800")
    assert read("stsb", scores)[0].label == 3.8


CONLL = """-DOCSTART- -X- O O

EU NNP I-NP B-ORG
rejects VBZ I-VP O

# NN I-NP O
Peter NNP I-NP B-PER"""


def test_conll_columns(write):
    path = write("a.conll", *CONLL.split("\n"))
    first, second = read("ner", path)
    assert (first.words, first.tags) == (("EU", "rejects"), ("B-ORG", "O"))
    assert (first.where, first.id) == (f"{path}:3", "0")
    assert (second.words, second.tags, second.where) == (
        ("#", "Peter"),
        ("O", "B-PER"),
        f"{path}:6",
    )
    assert read("pos", path, {"tags": "1"})[0].tags == ("NNP", "VBZ")
    assert read("ner", path, labelled=False)[0].tags is None
    alone = write("b.txt.gz", "one", "two", "", "three")
    assert [e.words for e in read("ner", alone, labelled=False)] == [("one", "two"), ("three",)]
    tabs = write("c.bio", "New York\tB-LOC")
    assert read("ner", tabs)[0].words == ("New York",)


def test_universal_dependencies(write):
    rows = ["# text = I'm", "1-2\tI'm\t_\t_", "1\tI\tI\tPRON", "2\t'm\tbe\tAUX", "2.1\te\te\tX"]
    (example,) = read("pos", write("a.conllu", *rows))
    assert (example.words, example.tags) == (("I", "'m"), ("PRON", "AUX"))


def test_chunks_are_learnt_in_the_reference_s_scheme(write):
    path = write("a.conll", "a B-NP", "b I-NP", "c B-VP", "d O")
    assert read("chunking", path)[0].tags == ("B-NP", "E-NP", "S-VP", "O")
    assert read("ner", path)[0].tags == ("B-NP", "I-NP", "B-VP", "O")
    assert_fails(r"a.conll:1: tag 'NN' marks no span", "chunking", write("a.conll", "a NN"))


def test_a_chunk_of_another_length_than_any_in_training_is_no_unknown_label(write):
    train = read("chunking", write("train.conll", "as B-CONJP", "well I-CONJP", "", "a B-NP"))
    labels = collect_labels(TASKS["chunking"], train)
    assert labels == tuple(sorted(f"{x}-{y}" for x in "BIES" for y in ("CONJP", "NP")))
    dev = write("dev.conll", "and B-CONJP", "a B-NP", "b I-NP", "c I-NP")
    (example,) = read("chunking", dev, labels=labels)
    assert example.tags == ("S-CONJP", "B-NP", "I-NP", "E-NP")
    other = write("other.conll", "a B-VP")
    assert_fails('unknown label "S-VP"', "chunking", other, labels=labels)


def test_half_a_character_is_replaced(write):
    """JSON may hold half of a surrogate pair, which no tokenizer and no file takes."""
    path = write("a.jsonl", r'{"text": "cut \ud83d emoji \ud83d\ude00", "label": "a\udc00"}')
    (example,) = read("classification", path)
    assert (example.texts, example.label) == (("cut \ufffd emoji \U0001f600",), "a\ufffd")
    words = write("b.jsonl", r'{"tokens": ["a", "\ud83d"], "tags": ["O", "O"]}')
    assert read("ner", words)[0].words == ("a", "\ufffd")


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


def test_blank_rows_of_a_table_are_empty_texts_but_for_the_end_of_the_file(write):
    lines = ["a film", "", "a day"]
    for name, blank in (("a.tsv", ""), ("a.csv", ""), ("b.csv", '""')):
        path = write(name, "text", *(line or blank for line in lines))
        assert_fails(r"[ab]\.[ct]sv:3: the text .* is empty", "sst2", path, labelled=False)
        path = write(name, "", "text", "a film", "a day", blank, blank)
        assert len(read("sst2", path, labelled=False)) == 2
    for name, blank in (("c.tsv", "\t"), ("c.csv", ",")):
        row = blank.join
        path = write(name, row(["text", "label"]), row(["a", "1"]), blank, row(["b", "0"]), blank)
        assert_fails(r":3: the text .* is empty", "sst2", path)
        path = write(name, row(["text", "label"]), row(["a", "1"]), "", row(["b", "0"]), blank)
        assert [e.label for e in read("sst2", path)] == ["1", "0"]


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


def test_turns_of_a_dialogue_are_lines(write):
    path = write(
        "a.jsonl", {"context": ["hi  you\nthere", "ho"], "candidates": ["a", "b"], "label": 0}
    )
    assert read("ranking", path)[0].context == "hi you there\nho"


@pytest.mark.parametrize(
    "text",
    [
        "the <e1>cat</e1> ate <e2>fish</e2>.",
        "the [[ cat ]] ate << fish >> .",
        "the [[cat]] ate [[fish]].",
        "the <<cat>> ate << fish>>.",
    ],
)
def test_marked_entities_become_single_characters(text):
    assert mark_entities(text) == "the $ cat $ ate # fish # ."


def test_the_second_kind_of_mark_may_come_first():
    assert mark_entities("<e2>fish</e2> fed <e1>cat</e1>") == "# fish # fed $ cat $"
    assert mark_entities("<<fish>> fed [[cat]]") == "# fish # fed $ cat $"


def test_spans_are_marked_and_nest():
    assert mark_spans("ab cd", (0, 2), (3, 5)) == "$ ab $ # cd #"
    assert mark_spans("我的朋友走", (0, 4), (0, 1)) == "$ # 我 # 的朋友 $ 走"
    assert mark_spans("我的朋友走", (2, 4), (0, 4)) == "# 我的 $ 朋友 $ # 走"
    assert mark_spans("ab", (0, 1), (1, 2)) == "$ a $ # b #"
    assert mark_spans("ab", (0, 2), (0, 2)) == "$ # ab # $"


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


def test_reading_needs_no_more_memory_for_more_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    line = json.dumps({"text": "x" * 1000, "label": 0}) + "\n"
    path.write_text(line * 20_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_examples(TASKS["classification"], str(path))) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_equal_files_are_noticed_whatever_they_are_called(write):
    a = write("a.jsonl", {"text": "a"})
    assert same_content(a, a)
    assert same_content(a, write("b.jsonl.gz", {"text": "a"}))
    assert not same_content(a, write("c.jsonl", {"text": "b"}))
    assert same_content("tfds:x:train", "tfds:x:train")
    assert not same_content("tfds:x:train", a)


# What is refused.


@pytest.mark.parametrize(
    ("task", "record", "message"),
    [
        ("sst2", {"sentence": "a", "label": 2}, 'unknown label "2"; the known labels are: 0, 1'),
        ("sst2", {"sentence": "a", "label": ""}, 'has no label: ""'),
        ("sst2", {"sentence": "a", "label": None}, "has no label: null"),
        ("classification", {"text": "a", "label": " "}, 'has no label: " "'),
        ("classification", {"text": "a", "label": float("nan")}, "has no label: NaN"),
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
        ("stsb", {"sentence1": "a", "sentence2": "b", "score": None}, "not a number: null"),
        ("regression", {"text": "a", "score": float("nan")}, "not a number: NaN"),
        ("multilabel", {"text": "a", "labels": 3}, "labels must be a list of names"),
        ("ner", {"tokens": ["a", "b"], "tags": ["O"]}, "has 2 words and 1 tags"),
        ("ner", {"tokens": [], "tags": []}, "there are no words"),
        ("pos", {"tokens": ["a", "b"], "tags": ["X", ""]}, r'tag of word 1 \("b"\) is empty'),
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


def test_an_unknown_label_of_evaluation_data_is_named(write):
    path = write("dev.jsonl", {"text": "a", "label": "yes"}, {"text": "b", "label": "maybe"})
    message = r'dev\.jsonl:2: unknown label "maybe"; the known labels are: no, yes'
    assert_fails(message, "classification", path, labels=("yes", "no"))
    tags = write("dev.conll", "a O", "", "b B-X")
    assert_fails(r'dev\.conll:3: unknown label "B-X"', "ner", tags, labels=("O", "B-Y"))


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("a.jsonl", ['{"text": "a", "label": 0}', "{text"], r":2 is not JSON \(.*column 2\)"),
        ("a.jsonl", ["[1]"], r":1 is not a JSON object: \[1\]"),
        ("a.tsv", ["text\tlabel", "a\t0", "b\tc\t0"], ":3 has 3 columns, the header has 2 .*tab"),
        ("a.csv", ["text,label", "a,0", "b"], ":3 has 1 columns, the header has 2 .*comma"),
        ("a.csv", ["text,label", '"a" b,0'], ":2 is not CSV"),
        ("a.tsv", ["text\tlabel"], ": there are no examples in it"),
        ("a.jsonl", [], ": there are no examples in it"),
        ("a.tsv", ["ein Film\tpos", "b\tneg"], ":2 has no column.*the first line names them"),
        ("a.xml", ["<a>"], ": unknown kind of file; task data is read from .jsonl, .tsv, .csv"),
    ],
)
def test_bad_files_are_named(write, name, lines, message):
    assert_fails(rf"{name}{message}", "classification", write(name, *lines))


def test_running_text_is_no_conll_file(write):
    for lines in (["Hans läuft nach Berlin."], ["Er kam.", "Sie ging auch."]):
        path = write("a.txt", *lines)
        assert_fails('running text goes into a .jsonl: {"text"', "ner", path, labelled=False)
    words = write("b.txt", "Hans O", "läuft O", "", "Berlin O")
    assert [e.words for e in read("ner", words, labelled=False)] == [("Hans", "läuft"), ("Berlin",)]


def test_files_that_are_not_there_are_not_of_an_unknown_kind(tmp_path):
    assert_fails("nothing does not exist", "sst2", str(tmp_path / "nothing"))
    assert_fails("is a folder", "sst2", str(tmp_path))


def test_only_spaces_and_tabs_separate_columns(write):
    path = write("a.conll", "10\u00a0km NOUN", "\u3000  PUNCT", " \t", "b\tc NUM")
    assert [(e.words, e.tags) for e in read("pos", path)] == [
        (("10\u00a0km", "\u3000"), ("NOUN", "PUNCT")),
        (("b",), ("c NUM",)),
    ]
    table = write("a.tsv", "tokens\ttags", "10\u00a0km  b\tX Y")
    assert read("pos", table)[0].words == ("10\u00a0km", "b")


def test_bad_conll_files_are_named(write):
    assert_fails(
        r"a\.conll:2: the tag in column -1 is empty",
        "pos",
        write("a.conll", "a\tX", "b\tX\t"),
    )
    assert_fails(
        r"a\.conll:2 has 1 columns .*data\.columns\.words", "ner", write("a.conll", "a O", "b")
    )
    assert_fails(r"a\.conll:1 has 2 columns", "ner", write("a.conll", "a O"), {"tags": "3"})
    assert_fails(
        "columns of a CoNLL file are named by number", "ner", write("a.bio", "a O"), {"tags": "x"}
    )


def test_unreadable_files_are_named(write, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a", "label": 0}\n{"text": "\xe9", "label": 0}\n')
    assert_fails(
        r"a\.jsonl:2 is not UTF-8 text: byte 11 .*0xe9", "classification", tmp_path / "a.jsonl"
    )
    assert_fails(
        r"none\.jsonl cannot be read: No such file", "classification", tmp_path / "none.jsonl"
    )
    packed = gzip.compress(b'{"text": "a", "label": 0}\n' * 100)
    (tmp_path / "b.jsonl.gz").write_bytes(packed[:-12])
    assert_fails(r"b\.jsonl\.gz is a damaged \.gz file", "classification", tmp_path / "b.jsonl.gz")


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


# tensorflow-datasets


@pytest.fixture
def stored(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    tf = pytest.importorskip("tensorflow")
    features = {
        "premise": tfds.features.Text(),
        "hypothesis": tfds.features.Text(),
        "label": tfds.features.ClassLabel(names=["entailment", "neutral", "contradiction"]),
        "idx": tf.int32,
        "tokens": tfds.features.Sequence(tfds.features.Text()),
        "ner": tfds.features.Sequence(tfds.features.ClassLabel(names=["O", "B-X"])),
        "answers": tfds.features.Sequence({"text": tfds.features.Text(), "start": tf.int32}),
    }
    rows = [
        {
            "premise": "中 a",
            "hypothesis": "b",
            "label": 2,
            "idx": 7,
            "tokens": ["x", "y"],
            "ner": [0, 1],
            "answers": {"text": ["p"], "start": [3]},
        },
    ]

    class TinyNli(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(), "test": self._generate_examples()}

        def _generate_examples(self):
            yield from enumerate(rows)

    builder = TinyNli(data_dir=tmp_path)
    monkeypatch.setattr(tfds, "builder", lambda name: builder)


def test_a_tfds_data_set_is_read_with_the_names_of_its_labels(stored):
    ((where, record),) = read_records("tfds:tiny_nli:test")
    assert where == "tfds:tiny_nli:test:1"
    assert record == {
        "premise": "中 a",
        "hypothesis": "b",
        "label": "contradiction",
        "idx": 7,
        "tokens": ["x", "y"],
        "ner": ["O", "B-X"],
        "answers": {"text": ["p"], "start": [3]},
    }
    (example,) = read("mnli", "tfds:tiny_nli")
    assert (example.id, example.texts) == ("7", ("中 a", "b"))
    assert example.label == "contradiction"
    assert read("ner", "tfds:tiny_nli")[0].tags == ("O", "B-X")


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
