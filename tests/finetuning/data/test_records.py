"""Files as records: formats, and what is wrong with a file's form."""

import gzip
import json
import tracemalloc

import pytest
from finetuning.task_files import assert_fails, read

from electra_jax.finetuning.data.readers import read_examples
from electra_jax.finetuning.data.records import read_records, same_content
from electra_jax.finetuning.task_table import TASKS


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


def test_only_spaces_and_tabs_separate_columns(write):
    path = write("a.conll", "10\u00a0km NOUN", "\u3000  PUNCT", " \t", "b\tc NUM")
    assert [(e.words, e.tags) for e in read("pos", path)] == [
        (("10\u00a0km", "\u3000"), ("NOUN", "PUNCT")),
        (("b",), ("c NUM",)),
    ]
    table = write("a.tsv", "tokens\ttags", "10\u00a0km  b\tX Y")
    assert read("pos", table)[0].words == ("10\u00a0km", "b")


def test_running_text_is_no_conll_file(write):
    for lines in (["Hans läuft nach Berlin."], ["Er kam.", "Sie ging auch."]):
        path = write("a.txt", *lines)
        assert_fails('running text goes into a .jsonl: {"text"', "ner", path, labelled=False)
    words = write("b.txt", "Hans O", "läuft O", "", "Berlin O")
    assert [e.words for e in read("ner", words, labelled=False)] == [("Hans", "läuft"), ("Berlin",)]


def test_bad_conll_files_are_named(write):
    assert_fails(
        r"a\.conll:2: the tag in column -1 is empty",
        "pos",
        write("a.conll", "a\tX\tX", "b\tX\t"),
    )
    assert_fails(
        r"a\.conll:2 has 1 columns .*data\.columns\.words", "ner", write("a.conll", "a O", "b")
    )
    assert_fails(r"a\.conll:1 has 2 columns", "ner", write("a.conll", "a O"), {"tags": "3"})
    assert_fails(
        "columns of a CoNLL file are named by number", "ner", write("a.bio", "a O"), {"tags": "x"}
    )


def test_half_a_character_is_replaced(write):
    """JSON may hold half of a surrogate pair, which no tokenizer and no file takes."""
    path = write("a.jsonl", r'{"text": "cut \ud83d emoji \ud83d\ude00", "label": "a\udc00"}')
    (example,) = read("classification", path)
    assert (example.texts, example.label) == (("cut \ufffd emoji \U0001f600",), "a\ufffd")
    words = write("b.jsonl", r'{"tokens": ["a", "\ud83d"], "tags": ["O", "O"]}')
    assert read("ner", words)[0].words == ("a", "\ufffd")


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
        ("a.xml", ["<a>"], ".* Write anything else as a .jsonl, one example a line"),
        ("a.csv", ["text;label", "a;b"], ":2 has no column.*by semicolons: write it with commas"),
        ("a.csv", ["text\tlabel", "a\tb"], ":2 has no column.*separated by tabs"),
        ("a.tsv", ["text,label", "a,b"], ":2 has no column.*separated by commas"),
    ],
)
def test_bad_files_are_named(write, name, lines, message):
    assert_fails(rf"{name}{message}", "classification", write(name, *lines))


def test_files_that_are_not_there_are_not_of_an_unknown_kind(tmp_path):
    assert_fails("nothing does not exist", "sst2", str(tmp_path / "nothing"))
    assert_fails("is a folder", "sst2", str(tmp_path))


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
