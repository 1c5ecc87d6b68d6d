"""What a tokenizer makes of a sample of its text: rates, examples, characters that were lost."""

import pytest

from electra_jax.text.tokenizers.sample import LineSample, measure
from electra_jax.text.tokenizers.tokenizer import tokenizer_from_vocab
from electra_jax.text.tokenizers.train import train_vocabulary
from electra_jax.text.tokenizers.wordpiece import Options

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "##é", "a"]
TOKENIZER = tokenizer_from_vocab(VOCAB, Options(True, False))


def test_rates_are_counted():
    report = measure(TOKENIZER, ["the cats", "the dog", "a  cat\u3000a"])
    assert (report.lines, report.words, report.characters) == (3, 7, 18)
    assert (report.tokens, report.unknown) == (8, 1)
    assert report.examples[0] == ("the cats", ("the", "cat", "##s"))
    shown = str(report)
    assert "1.14 tokens a word, 2.25 characters a token, 12.50% [UNK] (a sample of 3 lines" in shown


def test_frequent_characters_without_a_token_are_named_most_frequent_first():
    lines = ["the q z z é s S"] * 9 + ["qq zz \t"] * 3
    report = measure(TOKENIZER, lines)
    # é and s continue words; t, h, e are lost as letters though "the" is known.
    assert report.lost == (("z", 24), ("q", 15))
    assert measure(TOKENIZER, ["q z"] * 9).lost == ()  # not frequent enough


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sentencepiece_loses_what_its_coverage_leaves_out(kind, tmp_path):
    text = (
        "the lazy zoo quick brown fox and the lazy dog ran over a hill in may\n" * 400
        + "中文\n" * 30
    )
    (tmp_path / "a.txt").write_text(text)
    reports = []
    for fallback in (False, True):
        train_vocabulary(
            [str(tmp_path / "a.txt")], kind, 286 if fallback else 30, tmp_path / str(fallback),
            character_coverage=0.99, byte_fallback=fallback, progress=False,
            documents="lines", show=reports.append,
        )  # fmt: skip
    assert [character for character, _ in reports[0].lost] == ["中", "文"]
    assert reports[1].lost == () and reports[1].unknown == 0
    assert reports[0].lines == 430


def test_a_sample_is_uniform_and_the_same_for_the_same_lines():
    lines = [str(i) for i in range(10_000)]
    sample, again = LineSample(1000), LineSample(1000)
    assert list(sample.watch(iter(lines))) == lines
    list(again.watch(iter(lines)))
    assert sample.lines == again.lines
    assert len(set(sample.lines)) == 1000
    assert abs(sum(map(int, sample.lines)) / 1000 - 5000) < 300
    few = LineSample(10)
    list(few.watch(iter(["x" * 5000, "y"])))
    assert list(map(len, few.lines)) == [2000, 1]
