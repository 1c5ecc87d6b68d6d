"""`hf:` data sets by a stand-in for the library, and where it is installed by itself, offline."""

import sys
import types

import pytest

from electra_jax.errors import UserError
from electra_jax.text.corpus import open_corpus
from electra_jax.text.hub_datasets import candidates, open_hub_dataset


class Value:
    def __init__(self, dtype):
        self.dtype = dtype


class ClassLabel(Value):
    names = ("bad", "good")

    def __init__(self):
        super().__init__("int64")


class Stream:
    """What `load_dataset(…, streaming=True)` returns."""

    def __init__(self, features, records):
        self.features, self._records = features, records

    def __iter__(self):
        for record in self._records:
            if record is None:
                raise ConnectionError("reset by peer\nand more")
            yield record


REVIEWS = Stream(
    {"id": Value("int64"), "content": Value("string"), "label": ClassLabel()},
    [{"id": i, "content": f"text {i}\nmore", "label": i % 2} for i in range(3)],
)
STORED = {
    ("org/reviews", None, "train"): REVIEWS,
    ("org/reviews", None, "test[:1]"): Stream(REVIEWS.features, [REVIEWS._records[2]]),
    ("wiki", "20220301.simple", "train"): Stream(
        None, [{"title": "t", "n": 1, "text": "a \ud83d"}]
    ),
    ("org/wiki", "en/2022", "train"): Stream({"text": Value("large_string")}, [{"text": None}]),
    ("broken", None, "train"): Stream({"text": Value("string")}, [{"text": "a"}, None]),
}


@pytest.fixture
def library(monkeypatch):
    def load_dataset(path, name=None, *, split, streaming):
        assert streaming
        if (path, name, split) not in STORED:
            raise FileNotFoundError(f"Couldn't find {path}\nlong explanation")
        return STORED[path, name, split]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf:wiki", [("wiki", None, "train")]),
        ("hf:org/name", [("org/name", None, "train"), ("org", "name", "train")]),
        (
            "hf:org/name:test[:10%]",
            [("org/name", None, "test[:10%]"), ("org", "name", "test[:10%]")],
        ),
        ("hf:org/name/conf:validation", [("org/name", "conf", "validation")]),
        ("hf:tests/text", [("tests/text", None, "train")]),  # a folder of this checkout
    ],
)
def test_names_are_taken_apart(name, expected):
    assert candidates(name) == expected


@pytest.mark.parametrize("name", ["hf:", "hf::train", "hf:org//conf", "hf:/none"])
def test_a_name_without_a_data_set_is_refused(name):
    with pytest.raises(UserError, match="names no data set; give hf:NAME"):
        candidates(name)


@pytest.mark.parametrize(
    ("name", "field", "expected"),
    [
        ("hf:org/reviews", None, [["text 0", "more"], ["text 1", "more"], ["text 2", "more"]]),
        ("hf:org/reviews:test[:1]", "content", [["text 2", "more"]]),
        ("hf:wiki/20220301.simple", None, [["a \ufffd"]]),
        ("hf:wiki/20220301.simple", "title", [["t"]]),
        ("hf:org/wiki/en/2022", None, [[]]),
    ],
)
def test_texts_are_documents_in_stored_order(library, name, field, expected):
    assert list(open_corpus([name], field=field).documents()) == expected


def test_records_come_with_their_columns_and_classes(library):
    dataset = open_hub_dataset("hf:org/reviews")
    assert dataset.columns == ("id", "content", "label")
    assert dataset.texts == ("content",)
    assert dataset.class_names == {"label": ("bad", "good")}
    assert list(dataset.records) == REVIEWS._records


@pytest.mark.parametrize(
    ("name", "field", "named"),
    [
        (
            "hf:org/none",
            None,
            r"hf:org/none did not load: Couldn't find org/none; Couldn't find or",
        ),
        ("hf:org/reviews", "body", r'has no column "body" \(its columns: id, content, label\)'),
        ("hf:org/reviews", "id", r'the feature "id" holds no text'),
        ("hf:broken", None, r"hf:broken could not be read to its end: reset by peer$"),
    ],
)
def test_what_cannot_be_read_is_one_line(library, name, field, named):
    with pytest.raises(UserError, match=named):
        list(open_corpus([name], field=field).documents())


def test_without_the_library_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'electra_jax\[datasets\]'"):
        open_hub_dataset("hf:org/name")


def test_the_library_itself_streams_a_local_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("datasets")
    (tmp_path / "data").mkdir()
    lines = [f'{{"id": {i}, "content": "text {i}"}}\n' for i in range(5)]
    (tmp_path / "data" / "train.jsonl").write_text("".join(lines[:3]))
    (tmp_path / "data" / "test.jsonl").write_text("".join(lines[3:]))
    name = f"hf:{tmp_path / 'data'}"
    assert list(open_corpus([name]).documents()) == [["text 0"], ["text 1"], ["text 2"]]
