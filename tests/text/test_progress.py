"""Bars over a corpus: in bytes, or in documents where no size is known."""

from electra_jax.text.corpus import Corpus, open_corpus
from electra_jax.text.progress import advance, corpus_bar


def test_files_are_counted_in_stored_bytes(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("a\n\nb\n\nc\n")
    corpus = open_corpus([str(tmp_path / "a.txt")])
    with corpus_bar("reading", corpus, True) as bar:
        assert bar.total == 8
        for block in corpus.blocks():
            advance(bar, block.position, len(block.documents))
            advance(bar, block.position, len(block.documents))  # nothing new
        assert bar.n == 8
    assert "reading: 100%" in capsys.readouterr().err


def test_data_sets_are_counted_in_documents(capsys):
    with corpus_bar("prepare", Corpus((), ("hf:some/name",)), True) as bar:
        advance(bar, 0, 2048)
        advance(bar, 0, 4096)
        assert bar.n == 4096
    assert "4096 documents" in capsys.readouterr().err


def test_a_bar_that_is_not_wanted_prints_nothing(capsys):
    with corpus_bar("prepare", Corpus((), ("hf:some/name",)), False) as bar:
        advance(bar, 0, 10)
    assert capsys.readouterr().err == ""
