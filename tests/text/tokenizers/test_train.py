"""Vocabulary training: special tokens, determinism, casing, sizes that the text cannot fill."""

import random
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.tokenizer import SpecialIds, load_tokenizer
from electra_jax.text.tokenizers.train import KINDS, train_vocabulary

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Words of made-up syllables, so that there is something to find; some capitals and accents."""
    draw = random.Random(0)
    syllables = [c + v + e for c in "bdfgklmnprst" for v in "aeiou" for e in ("", "n", "r")]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 3))) for _ in range(800)]
    words += ["Éclair", "naïve", "中文字", "(NATO)"]
    documents = [
        "\n".join(" ".join(draw.choices(words, k=30)) + "." for _ in range(5)) for _ in range(60)
    ]
    file = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    file.write_text("\n\n".join(documents), "utf-8")
    return str(file)


def train(corpus, kind, size, folder, **options):
    return train_vocabulary([corpus], kind, size, folder, progress=False, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_has_the_size_asked_for_and_the_special_tokens_first(corpus, kind, tmp_path):
    tokenizer = train(corpus, kind, 300, tmp_path)
    assert (tokenizer.kind, tokenizer.vocab_size) == (kind, 300)
    assert tokenizer.ids_to_tokens(range(5)) == SPECIAL_TOKENS
    assert tokenizer.special_ids == SpecialIds(0, 1, 2, 3, 4)
    assert len(set(tokenizer.ids_to_tokens(range(300)))) == 300
    assert load_tokenizer(tmp_path).hash == tokenizer.hash


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_learnt_from_the_text(corpus, kind, tmp_path):
    """Whole frequent words become one piece: far fewer pieces than letters."""
    tokenizer = train(corpus, kind, 550, tmp_path)
    text = Path(corpus).read_text("utf-8")
    ids = tokenizer.encode_flat(text.split("\n"))[0]
    letters = len("".join(text.split()))
    assert len(ids) < 0.4 * letters
    assert (ids == tokenizer.special_ids.unk).mean() < 0.002


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_trains_the_same_vocabulary(corpus, kind, tmp_path):
    here = train(corpus, kind, 300, tmp_path / "a").hash
    script = (
        "import sys; from electra_jax.text.tokenizers.train import train_vocabulary;"
        "print(train_vocabulary([sys.argv[1]], sys.argv[2], 300, sys.argv[3], progress=False).hash)"
    )
    arguments = [sys.executable, "-c", script, corpus, kind, str(tmp_path / "b")]
    there = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()
    assert there == here
    for file in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_casing_and_accents_are_stored_and_travel(corpus, kind, tmp_path):
    def same(tokenizer, a, b):
        return tokenizer.encode(a) == tokenizer.encode(b)

    lower = train(corpus, kind, 300, tmp_path / "lower", strip_accents=False)
    cased = train(corpus, kind, 300, tmp_path / "cased", lower_case=False)
    bare = train(corpus, kind, 300, tmp_path / "bare", strip_accents=True)
    for tokenizer in (lower, load_tokenizer(tmp_path / "lower")):
        assert same(tokenizer, "éCLAIR", "Éclair")
        assert not same(tokenizer, "eclair", "éclair")
    for tokenizer in (cased, load_tokenizer(tmp_path / "cased")):
        assert not same(tokenizer, "nato", "NATO")
        assert not same(tokenizer, "naive", "naïve")
    for tokenizer in (bare, load_tokenizer(tmp_path / "bare")):
        assert same(tokenizer, "E\u0301CLAIR", "eclair")
        assert same(tokenizer, unicodedata.normalize("NFD", "naïve"), "naive")
    assert lower.do_lower_case and bare.do_lower_case and not cased.do_lower_case


def test_wordpiece_strips_accents_where_it_lower_cases(corpus, tmp_path):
    tokenizer = train(corpus, "wordpiece", 300, tmp_path / "a")
    assert tokenizer.encode("Éclair") == tokenizer.encode("eclair")
    unigram = train(corpus, "unigram", 300, tmp_path / "b")
    assert unigram.encode("Éclair") != unigram.encode("eclair")


def test_wordpiece_keeps_marks_that_are_vowels(tmp_path, caplog):
    """Stripped, "कुछ" would be "कछ"."""
    (tmp_path / "hi.txt").write_text("कुछ पुस्तकें पढ़ीं और लिखीं\n" * 50, "utf-8")
    tokenizer = train(str(tmp_path / "hi.txt"), "wordpiece", 40, tmp_path / "hi")
    assert "accents are kept" in caplog.text
    word = unicodedata.normalize("NFC", "कुछ")
    ids = load_tokenizer(tmp_path / "hi").encode(word)
    spelled = "".join(t.removeprefix("##") for t in tokenizer.ids_to_tokens(ids))
    assert unicodedata.normalize("NFC", spelled) == word
    caplog.clear()
    latin = tmp_path / "fr.txt"
    latin.write_text("un éclair, une pièce et des élèves naïfs\n" * 50, "utf-8")
    french = train(str(latin), "wordpiece", 40, tmp_path / "fr")
    assert french.encode("éclair") == french.encode("eclair") and not caplog.text


def test_a_folder_holds_one_kind_and_nothing_after_an_error(corpus, tmp_path):
    train(corpus, "wordpiece", 300, tmp_path / "t")
    train(corpus, "unigram", 300, tmp_path / "t")
    assert not (tmp_path / "t/vocab.txt").exists()
    assert load_tokenizer(tmp_path / "t").kind == "unigram"
    with pytest.raises(UserError):
        train(corpus, "wordpiece", 10**6, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_limit_trains_on_a_sample_that_the_seed_chooses(corpus, tmp_path):
    whole = train(corpus, "wordpiece", 200, tmp_path / "a")
    enough = train(corpus, "wordpiece", 200, tmp_path / "b", limit_bytes=10**9)
    some = train(corpus, "wordpiece", 200, tmp_path / "c", limit_bytes=20_000)
    again = train(corpus, "wordpiece", 200, tmp_path / "d", limit_bytes=20_000)
    other = train(corpus, "wordpiece", 200, tmp_path / "e", limit_bytes=20_000, seed=1)
    assert whole.hash == enough.hash
    assert some.hash == again.hash
    assert len({whole.hash, some.hash, other.hash}) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_that_the_text_does_not_support_is_refused(kind, tmp_path):
    (tmp_path / "a.txt").write_text("a few words and a few more words\n" * 3)
    with pytest.raises(
        UserError, match=r"a vocabulary of 5000 is larger than .* yields (\d+)"
    ) as e:
        train(str(tmp_path / "a.txt"), kind, 5000, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))
    supported = int(str(e.value).split("yields ")[1].split()[0])
    tokenizer = train(str(tmp_path / "a.txt"), kind, supported, tmp_path / "out")
    assert tokenizer.vocab_size == supported


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_too_small_for_the_letters_is_refused(corpus, kind, tmp_path):
    with pytest.raises(UserError, match=r"a vocabulary of 12 is too small .* letters alone need"):
        train(corpus, kind, 12, tmp_path, character_coverage=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_text_is_named_not_hidden_by_the_trainer(kind, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "fine words"}\n' * 40 + '{"body": 1}\n')
    with pytest.raises(UserError, match=r"a\.jsonl:41 has no string field"):
        train(str(tmp_path / "a.jsonl"), kind, 300, tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_only_whitespace_is_refused(kind, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": " \\n "}\n')
    with pytest.raises(UserError, match="only whitespace"):
        train(str(tmp_path / "a.jsonl"), kind, 300, tmp_path / "out")


def test_bad_arguments_are_refused(corpus, tmp_path):
    def assert_fails(match, kind="wordpiece", size=300, **options):
        with pytest.raises(UserError, match=match):
            train(corpus, kind, size, tmp_path / "out", **options)

    assert_fails("unknown kind of vocabulary 'words'; choose one of wordpiece", kind="words")
    assert_fails("holds nothing but special tokens", size=5)
    assert_fails("limit_bytes is 0", limit_bytes=0)
    assert_fails(r"must be in \(0, 1\]", character_coverage=1.5)
    assert_fails("at least 0.98", kind="unigram", character_coverage=0.5)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"cannot write .*file"):
        train(corpus, "wordpiece", 300, tmp_path / "file")


def test_a_limit_samples_documents_that_are_lines(tmp_path, caplog):
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijk", k=5)) for _ in range(300)]
    lines = [" ".join(draw.choices(words, k=draw.randint(9, 40))) + "." for _ in range(200)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    reports = []
    options = {"limit_bytes": 8000, "show": reports.append}
    train(str(tmp_path / "a.txt"), "wordpiece", 60, tmp_path / "lines", **options)
    assert "each line of a .txt file is one document" in caplog.text
    assert 20 < reports[0].lines < 90  # a quarter of the text
    caplog.clear()
    train(str(tmp_path / "a.txt"), "wordpiece", 60, tmp_path / "all", show=reports.append)
    assert reports[1].lines == 200 and not caplog.text


@pytest.mark.parametrize(
    ("kind", "options", "passes"),
    [
        ("wordpiece", {}, ["reading"]),
        ("bpe", {}, ["looking for letters", "reading"]),
        ("wordpiece", {"limit_bytes": 10**9}, ["measuring", "reading"]),
    ],
)
def test_every_pass_over_the_text_has_a_bar_and_training_is_announced(
    corpus, tmp_path, capsys, kind, options, passes
):
    train_vocabulary([corpus], kind, 120, tmp_path, **options)
    shown = capsys.readouterr().err
    for name in ("measuring", "looking for letters", "reading"):
        assert (f"{name}: 100%" in shown) == (name in passes)
    assert "training on 300 lines" in shown
