"""Tables with a word a row and blank rows between sentences."""

import logging

import pytest
from finetuning.task_files import assert_fails, read

from electra_jax.finetuning.data.readers import columns_of, read_examples, without_header
from electra_jax.finetuning.task_table import TASKS

BIOBERT = ["IL-2\tB", "gene\tI", '"\tO', ".\tO", "", "NF\tO", "kappa\tB", "", ""]
SENTENCES = [
    (("IL-2", "gene", '"', "."), ("B", "I", "O", "O")),
    (("NF", "kappa"), ("O", "B")),
]


def sentences(path, columns=None, **options):
    return [(e.words, e.tags) for e in read("ner", path, columns, **options)]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.tsv", BIOBERT),
        ("b.tsv", ["token\ttag", *BIOBERT]),
        ("c.tsv", ["Word\tLabel", "", *BIOBERT]),
        ("d.tsv", ["-DOCSTART-\tO", "", *BIOBERT]),
        ("e.csv", ["tag,word", "B,IL-2", "I,gene", 'O,""""', "O,.", "", "O,NF", "B,kappa"]),
    ],
)
def test_sentences_end_at_blank_rows(write, caplog, name, lines):
    path = write(name, *lines)
    assert sentences(path) == SENTENCES
    assert "a word a row, a blank row between sentences; words from" in caplog.text
    assert columns_of(TASKS["ner"], path, {}) == ({}, ())  # nothing is said twice
    first = read("ner", path)[0]
    skipped = 2 * (name == "c.tsv" or name == "d.tsv") + (name in ("b.tsv", "e.csv"))
    assert (first.where, first.id) == (f"{path}:{1 + skipped}", "0")


def test_columns_have_names_or_numbers(write):
    rows = ["Ann\tNNP\tB-PER", "ran\tVBD\tO", "", "Rome\tNNP\tB-LOC"]
    with_header = write("a.tsv", "word\tpos\tner", *rows)
    pos, ner = [("NNP", "VBD"), ("NNP",)], [("B-PER", "O"), ("B-LOC",)]
    assert [e.tags for e in read("tagging", with_header)] == ner
    assert [e.tags for e in read("tagging", with_header, {"tags": "pos"})] == pos
    without = write("b.tsv", *rows)
    assert [e.tags for e in read("tagging", without)] == ner
    assert [e.tags for e in read("tagging", without, {"tags": "1", "words": "0"})] == pos
    assert_fails("data.columns.tags=x: there is no such column; it has word, pos, ner",
                 "tagging", with_header, {"tags": "x"})  # fmt: skip
    assert_fails("tags=7: there is no such column; it has no header, and columns 0 to 2",
                 "tagging", without, {"tags": "7"})  # fmt: skip


def test_a_first_row_of_data_is_no_header(write):
    rows = ["Word\tO", "of\tO", "", "God\tB-PER"]
    assert sentences(write("a.tsv", *rows))[0] == (("Word", "of"), ("O", "O"))
    given = write("b.tsv", "token\ttag", "", "of\tO")
    task = without_header(TASKS["tagging"])
    assert [e.words for e in read_examples(task, given)] == [("token",), ("of",)]


def test_words_to_predict_have_no_tags(write):
    assert sentences(write("a.tsv", "Ann", "ran", "", "Bob"), labelled=False) == [
        (("Ann", "ran"), None),
        (("Bob",), None),
    ]
    labelled = write("b.tsv", *BIOBERT)
    assert [w for w, _ in sentences(labelled, labelled=False)] == [w for w, _ in SENTENCES]


def test_tables_of_sentences_stay_what_they_are(write, caplog):
    """Also with a blank row among them."""
    lines = ["tokens\ttags", "Ann ran\tB-PER O", "Bob ate bread\tB-PER O O"]
    assert len(read("ner", write("a.tsv", *lines))) == 2
    assert len(read("ner", write("b.tsv", *lines[:2], "", lines[2]))) == 2
    running = write("c.tsv", "text", "Ann ran home.", "", "Bob ate.")
    assert_fails("c.tsv:3: the text", "ner", running, labelled=False)
    assert not [
        r for r in caplog.records if r.levelno >= logging.WARNING and "a word a row" in r.msg
    ]


def test_what_is_wrong_is_named_with_its_row(write):
    more = ["x\tO"] * 600
    assert_fails("a.tsv:606 has 3 columns, and rows before it 2",
                 "ner", write("a.tsv", *BIOBERT[:5], *more, "y\tO\tO"))  # fmt: skip
    assert_fails("b.tsv:4: the tag in column 1 is empty; fill it",
                 "ner", write("b.tsv", "a\tO", "", "b\tO", "c\t", "d\tO"))  # fmt: skip
    assert_fails('c.tsv:1: the tag "NN" marks no span', "ner", write("c.tsv", "a\tNN", "", "b\tNN"))
