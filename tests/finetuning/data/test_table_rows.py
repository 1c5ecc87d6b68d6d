"""Cells of tables: quotes of .tsv files, which GLUE's do not have and pandas' do."""

import csv
import io
import itertools
import random

import pytest
from finetuning.task_files import assert_fails, read

from electra_jax.finetuning.data.readers import read_examples, without_header
from electra_jax.finetuning.data.table_rows import csv_rows, tsv_rows
from electra_jax.finetuning.task_table import TASKS

TEXTS = ["plain", 'he said "hi"', '"all"', "a\ttab", "two\nlines", 'a"', '""', '"', "x, y", "'"]


def rows(lines):
    return list(tsv_rows("f.tsv", iter(enumerate(lines, 1))))


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_what_a_csv_writer_writes_with_tabs_is_read_back(quoting):
    """pandas' to_csv(sep="\\t"); any texts in any order."""
    draw = random.Random(1)
    for _ in range(200):
        table = [["text", "more", "label"]]
        # A tab in one cell and a line's end in the next could be a row of the right width.
        table += [[draw.choice(TEXTS), draw.choice(TEXTS[:3]), "1"] for _ in range(6)]
        stream = io.StringIO(newline="")
        csv.writer(stream, delimiter="\t", quoting=quoting, lineterminator="\n").writerows(table)
        found = rows(stream.getvalue().removesuffix("\n").split("\n"))
        assert [cells for _, cells in found] == table


@pytest.mark.parametrize(
    "cell", ['"Hello."', '"is it', 'the "best" film', '"a" and "b"', '"', '""', 'x""y', '"a" "b"']
)
def test_quotes_of_a_file_without_quoting_stay(cell):
    assert rows(["text\tlabel", f"{cell}\t1"])[1] == (2, [cell, "1"])


def test_a_row_that_no_quotes_explain_is_given_as_it_is_with_all_lines_after_it():
    lines = ["a\tb", '"open', "x\ty", *(f"{i}\t1" for i in range(1200))]
    found = rows(lines)
    assert [number for number, _ in found] == list(range(1, len(lines) + 1))
    assert found[1][1] == ['"open'] and found[-1][1] == ["1199", "1"]


def test_lines_are_read_as_they_are_needed():
    lines = itertools.chain(["text\tlabel", '"a ""b"""\t1'], itertools.repeat("x\ty"))
    found = list(itertools.islice(tsv_rows("f.tsv", enumerate(lines, 1)), 3))
    assert found[1:] == [(2, ['a "b"', "1"]), (3, ["x", "y"])]


def test_csv_rows_have_the_number_of_their_first_line():
    lines = enumerate(["a,b", '"x', 'y",1', "", "z,2"], 1)
    assert list(csv_rows("f.csv", lines, 99)) == [
        (1, ["a", "b"]),
        (2, ["x\ny", "1"]),
        (4, []),
        (5, ["z", "2"]),
    ]


def test_a_table_that_pandas_wrote_is_read(write, caplog):
    path = write("a.tsv", "text\tlabel", '"he said ""hi"""\t0', '"two', 'lines"\t1')
    assert [(e.texts[0], e.where[-2:]) for e in read("classification", path)] == [
        ('he said "hi"', ":2"),
        ("two\nlines", ":3"),
    ]
    assert "cells between quotes are read without them" in caplog.text


def test_columns_of_one_name_are_refused(write):
    for name, mark in (("a.tsv", "\t"), ("a.csv", ",")):
        path = write(name, mark.join(["text", "label", "text"]), mark.join("abc"))
        message = rf'{name}:1: the header names the column "text" twice'
        assert_fails(message, "classification", path)
    index = write("b.csv", ",,text,label", "0,1,a,x")  # unnamed ones are not read
    assert read("classification", index)[0].texts == ("a",)


def test_tables_without_a_header_are_read_by_number(write):
    task = without_header(TASKS["classification"])
    for name, mark in (("a.tsv", "\t"), ("a.csv", ",")):
        path = write(name, *(mark.join(cells) for cells in (("x", "one", "5"), ("y", "two", "6"))))
        found = list(read_examples(task, path, {"text": "1", "label": "0"}))
        assert [(e.texts[0], e.label, e.where[-1]) for e in found] == [
            ("one", "x", "1"),
            ("two", "y", "2"),
        ]
        message = r"header line or give --config\.data\.header=no and columns by number"
        assert_fails(message, "classification", path)
