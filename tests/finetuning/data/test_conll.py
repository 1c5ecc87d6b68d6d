"""Sentences in columns: comments, columns that vary, running text."""

from dataclasses import replace

import pytest
from finetuning.task_files import assert_fails, read

from electra_jax.errors import UserError
from electra_jax.finetuning.data.readers import read_examples
from electra_jax.finetuning.task_table import TASKS


def words(task, path, **options):
    return [e.words for e in read(task, path, **options)]


COMMENTED = {
    "four columns, MultiCoNER's": [
        "# id 0\tdomain=en", "Rome _ _ B-LOC", "", "# id 1\tdomain=en", "# x", "is _ _ O",
    ],
    "two columns between tabs, KLUE's": [
        "## klue-1\t<Rome:LOC> x", "Rome\tB-LOC", "", "## klue-2\tis", "## more", "is\tO",
    ],
    "two columns": ["# id 5", "Rome B-LOC", "", "# a b c", "is O"],
    "several before a sentence": [
        "# id 0\ta", "Rome\tB-LOC", "", "# id 1\tb", "# id 2\tb", "is\tO",
    ],
    "no blank line between sentences": ["# id 0\ta", "Rome\tB-LOC", "# id 1\tb", "", "is\tO"],
}  # fmt: skip


@pytest.mark.parametrize("name", COMMENTED)
@pytest.mark.parametrize("task", ["ner", "tagging", "pos"])
def test_comments_are_no_words(write, name, task, caplog):
    path = write("a.conll", *COMMENTED[name])
    assert words(task, path) == [("Rome",), ("is",)]
    assert "are read as comments" in caplog.text
    assert words(task, path, labelled=False) == [("Rome",), ("is",)]
    assert read(task, path)[0].where == f"{path}:2"


def test_a_word_that_is_the_sign_of_comments_stays_a_word(write, caplog):
    for lines in (
        ["# NN B-X", "1 CD I-X", "", "a DT O", "# NN O"],
        ["#\tB-X", "1\tI-X", "", "a\tO", "#\tO"],
        ["#1 B-X", "1 I-X", "", "a O", "#1 O"],
    ):
        first, second = words("ner", write("a.conll", *lines))
        assert first[0][0] == second[1][0] == "#" and len(first) == len(second) == 2
    alone = write("b.txt", "#", "one", "", "#tag", "two")
    assert words("ner", alone, labelled=False) == [("#", "one"), ("#tag", "two")]
    assert "comments" not in caplog.text
    assert words("pos", write("c.conll", "# NN", "", "a DT")) == [("#",), ("a",)]


def test_a_tag_that_marks_no_span_is_named_by_its_line(write):
    path = write("a.conll", "a O", "", "b domain=en")
    assert_fails(r'a\.conll:3: the tag "domain=en" marks no span', "ner", path)
    numbers = write("a.jsonl", {"tokens": ["a"], "tags": [3]})
    assert_fails(r"a\.jsonl:1: .*names of the tags in place of their numbers", "ner", numbers)


@pytest.mark.parametrize(
    "lines",
    [
        ["Ann lives here", "Bob saw Paris"],
        ["Ann Smith"],
        ["Ann Smith", "", "Bob Paris"],
        ["Hans läuft nach Berlin."],
        ["7\tAnn lives here", "8\tBob saw Paris"],
    ],
)
@pytest.mark.parametrize("known", [None, ("O", "B-PER")])
def test_running_text_is_refused_where_words_to_tag_are_read(write, lines, known):
    path = write("a.txt", *lines)
    task = replace(TASKS["ner"], labels=known)
    with pytest.raises(UserError, match=r"a\.txt:1: .*running text goes into a \.jsonl"):
        list(read_examples(task, path, labelled=False))
    named = list(read_examples(task, path, {"words": "0"}, labelled=False))
    assert named[0].words[0] == lines[0].replace("\t", " ").split(" ")[0]


def test_columns_with_tags_are_read_without_labels(write, caplog):
    tags = ["Hans PER B-PER", "läuft V O", "", "neu NEW B-NEW", "x X O"]
    path = write("a.txt", *tags)
    assert words("ner", path, labelled=False) == [("Hans", "läuft"), ("neu", "x")]
    assert "words are read from column 0 of 3 columns" in caplog.text
    alone = write("b.txt", "Hans", "läuft", "", "x")
    assert words("ner", alone, labelled=False) == [("Hans", "läuft"), ("x",)]


def test_columns_that_vary_are_refused_unless_they_are_named(write):
    path = write("train.txt", "Ann lives here", "Bob saw", "")
    for task in ("pos", "tagging"):
        assert_fails(r"train\.txt:2 has 2 columns .*and line 1 has 3", task, path)
    assert read("pos", path, {"words": "0", "tags": "1"})[0].tags == ("lives", "saw")
