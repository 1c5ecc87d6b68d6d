"""How documents of .txt files are told apart: by looking, and saying what was found."""

import gzip
import random
import textwrap

import pytest

from electra_jax.errors import UserError
from electra_jax.text import separation
from electra_jax.text.corpus import open_corpus
from electra_jax.text.separation import find_separation

_draw = random.Random(0)


def words(count, end="."):
    syllables = [c + v for c in "bdfgklmnprst" for v in "aeiou"]
    made = ("".join(_draw.choices(syllables, k=_draw.randint(1, 4))) for _ in range(count))
    return " ".join(made).capitalize() + end


DOCUMENTS = [words(_draw.randint(20, 300)) for _ in range(120)]
SENTENCES = [words(_draw.randint(4, 25)) for _ in range(400)]
TWEETS = [words(_draw.randint(2, 20), end="") for _ in range(400)]
CHINESE = ["汉顺帝建康元年八月初六。" * _draw.randint(1, 30) for _ in range(100)]
NOVELS = [line for i, line in enumerate(SENTENCES) for line in ["", line][i % 150 > 0 :]]
BOOK = textwrap.wrap(" ".join(SENTENCES), 70)
CHAPTERS = [
    line for i, line in enumerate(BOOK) for line in ([line, ""] if i % 150 == 9 else [line])
]


@pytest.mark.parametrize(
    ("lines", "expected", "said"),
    [
        ("\n\n".join(DOCUMENTS).split("\n"), "blank_lines", ""),
        ("\n\n\n".join(SENTENCES).split("\n"), "blank_lines", ""),
        (DOCUMENTS, "lines", "each line of a .txt file is one document: 120 lines of"),
        ([*DOCUMENTS, ""], "lines", "no blank lines between them"),
        (["", *DOCUMENTS[:110], " ", *DOCUMENTS[110:]], "lines", "1 blank line between them"),
        (SENTENCES, "lines", "400 lines of"),
        (TWEETS, "lines", "each line"),
        (CHINESE, "lines", "each line"),
        (NOVELS, "blank_lines", ""),  # one blank line in 150 paragraphs
        (BOOK, "files", "each .txt file is one document: a wrapped text"),
        (CHAPTERS, "blank_lines", ""),  # rare blank lines, but the lines are not documents
        (DOCUMENTS[:1], "blank_lines", ""),
        (["\u3000", ""], "blank_lines", ""),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_one_file(tmp_path, caplog, name, lines, expected, said):
    data = "\n".join(lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert find_separation([str(tmp_path / name)]) == expected
    assert said in caplog.text and bool(said) == bool(caplog.text)
    if said:
        assert "--documents=blank_lines|lines|files" in caplog.text


def test_many_short_files_are_a_document_each(tmp_path, caplog):
    for i in range(10):
        (tmp_path / f"{i}.txt").write_text("\n".join(SENTENCES[i * 9 : i * 9 + 9]))
    corpus = open_corpus([f"{tmp_path}/*.txt"], documents="auto")
    assert corpus.separation == "files"
    assert "each .txt file is one document: 10 files, 90 lines of" in caplog.text
    assert len(list(corpus.documents())) == 10
    (tmp_path / "0.txt").write_text("one\n\ntwo\n\nthree")
    assert open_corpus([f"{tmp_path}/*.txt"], documents="auto").separation == "blank_lines"


def test_few_large_files_are_shards_of_lines(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text("\n".join(DOCUMENTS))
    corpus = open_corpus([f"{tmp_path}/*.txt"], documents="auto")
    assert corpus.separation == "lines"
    assert len(list(corpus.documents())) == 360


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ("blank_lines", [["a", "b"], ["c"]]),
        ("lines", [["a"], ["b"], ["c"]]),
        ("files", [["a", "b", "c"]]),
    ],
)
def test_what_is_asked_for_is_done_without_a_look(tmp_path, caplog, documents, expected):
    (tmp_path / "a.txt").write_text("a\nb\n \nc\n")
    assert list(open_corpus([str(tmp_path / "a.txt")], documents=documents).documents()) == expected
    assert not caplog.text


def test_only_txt_files_are_looked_at(tmp_path, caplog):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 300)
    assert open_corpus([str(tmp_path / "a.jsonl")], documents="auto").separation == "blank_lines"
    assert not caplog.text


def test_an_unknown_value_is_refused(tmp_path):
    with pytest.raises(UserError, match="documents is 'paragraphs'; choose one of auto, blank_lin"):
        open_corpus([str(tmp_path)], documents="paragraphs")


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_blank_lines_are_found_far_into_a_file(tmp_path, monkeypatch, name):
    monkeypatch.setattr(separation, "_PART_BYTES", 20_000)
    novel = "\n".join(SENTENCES)  # longer than a part
    data = "\n\n".join([novel] * 40).encode()
    assert len(data) > 40 * 20_000
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert find_separation([str(tmp_path / name)]) == "blank_lines"


def test_lines_that_are_cut_by_a_part_do_not_count(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(separation, "_PART_BYTES", 1000)
    (tmp_path / "a.txt").write_text(("x" * 299 + "\n") * 100)
    find_separation([str(tmp_path / "a.txt")])
    assert " lines of 299 bytes (median), no blank lines" in caplog.text
    look = separation._look([str(tmp_path / "a.txt")])
    assert set(look.lengths) == {299} and 16 <= len(look.lengths) <= 24
