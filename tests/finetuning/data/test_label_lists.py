"""Several labels a text, in every way that files write them."""

import itertools

import pytest
from finetuning.task_files import assert_fails, read


def labels(path, columns=None, **options):
    return [e.label for e in read("multilabel", path, columns, **options)]


def rows(*values):
    return [{"text": "a", "labels": value} for value in values]


@pytest.mark.parametrize(
    "vectors",
    [
        ([0, 1, 0], [1, 0, 1], [0, 0, 0]),
        ([False, True, False], [True, False, True], [False] * 3),
        ([0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0] * 3),
        ("[0, 1, 0]", "[1 0 1]", "[False, False, False]"),
        ("0,1,0", "1,0,1", "0,0,0"),
        ("0 1 0", "1 0 1", "0 0 0"),
        (["0", "1", "0"], ["1", "0", "1"], ["0", "0", "0"]),
    ],
)
def test_vectors_of_0_and_1_are_read_by_their_places(write, vectors, caplog):
    path = write("a.jsonl", *rows(*vectors))
    assert labels(path) == [("1",), ("0", "2"), ()]
    assert "vectors of 0 and 1, read as 3 labels with the names 0 to 2" in caplog.text


def test_vectors_of_two_labels_are_told_by_a_value_that_repeats(write):
    assert labels(write("a.jsonl", *rows([1, 0], [0, 1], [1, 1], [0, 0]))) == [
        ("0",),
        ("1",),
        ("0", "1"),
        (),
    ]
    assert labels(write("b.jsonl", *rows([1, 0], [0, 1]))) == [("0",), ("1",)]


def test_numbers_of_lists_of_several_lengths_are_names(write):
    assert labels(write("a.jsonl", *rows([0, 1], [1], [], [3, 0]))) == [
        ("0", "1"),
        ("1",),
        (),
        ("3", "0"),
    ]
    assert labels(write("b.jsonl", *rows([1], [0], [1]))) == [("1",), ("0",), ("1",)]


def test_a_line_that_does_not_go_with_those_before_it_is_named(write):
    assert_fails(
        r"a\.jsonl:2: labels are no vector of 3 times 0 or 1, as they are at .*a\.jsonl:1",
        "multilabel",
        write("a.jsonl", *rows([0, 1, 0], [4])),
    )
    assert_fails(
        r"b\.jsonl:2: labels look like a vector of 0 and 1",
        "multilabel",
        write("b.jsonl", *rows(["x"], [0, 1, 0])),
    )


def test_such_a_line_may_be_passed_over(write):
    path = write("a.jsonl", *rows([0, 1, 0], [4], [1, 0, 0]))
    first, bad, last = read("multilabel", path, lenient=True)
    assert (first.label, last.label) == (("1",), ("0",))
    assert "labels are no vector" in str(bad.error) and bad.where == f"{path}:2"


def test_a_vector_with_missing_values_has_no_label(write, caplog):
    """The Toxic Comments' test set: -1 where nothing was annotated."""
    path = write("a.jsonl", *rows([0, 1, 1], [-1, -1, -1], [0, -1, 0], [1, 0, 0]))
    assert labels(path) == [("1", "2"), ("0",)]
    assert '2 of 5 labels are missing (2 × "-1", first at' in caplog.text


def test_columns_of_0_and_1_are_labels(write, caplog):
    path = write("a.csv", "text,toxic,insult,n", "a,1,0,7", "b,1.0,True,7", "c,0,0,7", "d,-1,-1,7")
    assert labels(path, {"label": "toxic,insult"}) == [("toxic",), ("toxic", "insult"), ()]
    assert "1 of 4 labels are missing" in caplog.text
    assert_fails(
        r'a\.csv:2: column "n" holds "7"; a column for one of several labels holds 0 or 1',
        "multilabel",
        path,
        {"label": "toxic, n"},
    )
    assert_fails(
        r"a\.csv:2 has no column for the labels; .*--config\.data\.columns\.label=toxic,insult",
        "multilabel",
        path,
    )


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("['food', 'price']", ("food", "price")),
        ('[""food"", ""price""]', ("food", "price")),
        ("['food' 'price']", ("food", "price")),
        ("[food, price]", ("food", "price")),
        ("[]", ()),
        ("food|price", ("food", "price")),
        ("food; price", ("food", "price")),
        ("food, price", ("food", "price")),
        ("food", ("food",)),
        ("", ()),
    ],
)
def test_lists_in_a_cell(write, cell, names):
    if cell == "":
        assert labels(write("a.csv", "text,labels", "a,x", "b,", "c,x"))[1:2] in ([()], [("x",)])
    else:
        assert labels(write("a.csv", "text,labels", f'a,"{cell}"')) == [names]


def test_one_separator_in_a_file(write):
    table = write("a.csv", "text,labels", "a,food|price", "b,room", "c,food;price")
    assert_fails(r"a\.csv:4: labels are separated by ;, at .*a\.csv:2 by \|", "multilabel", table)
    both = write("b.csv", "text,labels", '"a","x, y|z"')
    assert_fails(r'b\.csv:2: labels hold "x, y\|z", with \| and , between', "multilabel", both)
    half = write("c.csv", "text,labels", "a,\"['x', 'y\"")
    assert_fails(r"c\.csv:2: labels hold .*begins as a list and is none", "multilabel", half)


def test_missing_names_within_a_list_are_left_out(write, caplog):
    """Lists that were padded to one length."""
    assert labels(write("a.jsonl", *rows([3, 5, -1], [4, -1, -1], ["x", None]))) == [
        ("3", "5"),
        ("4",),
        ("x",),
    ]
    assert caplog.text.count("within a list of labels is left out") == 1


def test_few_examples_are_held_back(write):
    from electra_jax.finetuning.data.readers import read_examples
    from electra_jax.finetuning.task_table import TASKS

    path = write("a.jsonl", *rows([0, 1], [1, 1], [1, 0]), "{broken")
    first = list(itertools.islice(read_examples(TASKS["multilabel"], path), 2))
    assert [e.label for e in first] == [("1",), ("0", "1")]
