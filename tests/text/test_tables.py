"""Texts of a column: quoting, separators, names, and rows that do not fit."""

import gzip

import pytest

from electra_jax.errors import UserError
from electra_jax.text.corpus import open_corpus

PANDAS_TSV = 'id\ttext\n1\t"he said ""hi"""\n2\tplain "quoted" words\n3\t"open\n4\t\n'


def texts(folder, name, content, field=None):
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return list(open_corpus([str(folder / name)], field=field).documents())


@pytest.mark.parametrize(
    ("name", "content", "field", "expected"),
    [
        ("a.csv", "id,text\n1,one\n2,two\n", None, [["one"], ["two"]]),
        ("a.csv.gz", "id,text\n1,one\n2,two\n", None, [["one"], ["two"]]),
        ("a.csv", "\ufeffbody;id\r\na, b;1\r\nc;2\r\n", "body", [["a, b"], ["c"]]),
        ("a.csv", 'text\n"a ""b""\n\nc, d"\n"e"\n', None, [['a "b"', "c, d"], ["e"]]),
        ("a.csv", "review\ngood\n\nbad\n", None, [["good"], ["bad"]]),  # the only column
        ("a.csv", "text,x\n,1\nb,2\n", None, [[], ["b"]]),
        ("a.tsv", PANDAS_TSV, None, [['he said "hi"'], ['plain "quoted" words'], ['"open'], []]),
        ("a.tsv", "text\tlabel\na b\tx\n", "label", [["x"]]),
    ],
)
def test_a_column_is_read(tmp_path, name, content, field, expected):
    assert texts(tmp_path, name, content, field) == expected


@pytest.mark.parametrize(
    ("name", "content", "field", "named"),
    [
        (
            "a.csv",
            "id,body\n1,x\n",
            None,
            r'no column "text" \(its columns: id, body\); --field=NAM',
        ),
        ("a.csv", "id,text\n1,x\n", "boody", r'no column "boody" \(its columns: id, text\)'),
        (
            "a.tsv",
            "1\t" + "a long first text " * 9,
            None,
            r"its columns: 1, a long first text a long first.*the first line must name",
        ),
        ("a.csv", "text,text\n1,x\n", None, r'2 columns "text"; rename one'),
        ("a.csv", 'text,n\n"a\nb",1\nx\n', None, r"a\.csv:4 has 1 columns, the first line 2"),
        ("a.tsv", "text\tn\na\nb\t1\n", None, r"a\.tsv:2 has 1 columns, .* a tab or a line end"),
        ("a.csv", b"text,n\na,1\nb\xff,2\n", None, r"a\.csv is not UTF-8 .* 0xff \(line 3\)"),
        ("a.csv", b"text,n\na\0b,1\n", None, r"a\.csv is a binary file"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, name, content, field, named):
    with pytest.raises(UserError, match=named):
        texts(tmp_path, name, content, field)


def test_a_quotation_mark_that_is_not_closed_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match=r"a\.csv:3 is no row of a \.csv"):
        texts(tmp_path, "a.csv", "text,n\na,1\n" + '"b,2\n' + "x" * 99 + "\n" + "y,1\n" * (3 << 20))


@pytest.fixture
def parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def write(**columns):
        parquet.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=2)
        return str(tmp_path / "a.parquet")

    return write


def test_a_column_of_parquet_is_read_with_its_position(parquet):
    path = parquet(id=[1, 2, 3], text=["one\n\nmore", None, "caf\u00e9 \0"], url=["u", "v", "w"])
    corpus = open_corpus([path])
    assert list(corpus.documents()) == [["one", "more"], [], ["caf\u00e9 \0"]]
    assert [block.position for block in corpus.blocks()] == [corpus.total_bytes]
    assert list(open_corpus([path], field="url").documents()) == [["u"], ["v"], ["w"]]


def test_the_only_column_of_strings_is_the_text(parquet):
    path = parquet(n=[1, 2], body=["a", "b"])
    assert list(open_corpus([path]).documents()) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("columns", "field", "named"),
    [
        ({"a": ["x"], "b": ["y"]}, None, r'no column "text" \(its columns: a, b\); --field=NAME'),
        ({"a": ["x"], "n": [1]}, "n", r'the column "n" holds int64, not text'),
    ],
)
def test_columns_of_parquet_that_do_not_fit_are_named(parquet, columns, field, named):
    with pytest.raises(UserError, match=named):
        list(open_corpus([parquet(**columns)], field=field).documents())


def test_a_damaged_parquet_file_is_named(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"a\.parquet is not a whole Parquet file"):
        list(open_corpus([str(tmp_path / "a.parquet")]).documents())


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"pip install 'electra_jax\[parquet\]'"):
        list(open_corpus([str(tmp_path / "a.parquet")]).documents())
