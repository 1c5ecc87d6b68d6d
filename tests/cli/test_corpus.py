"""`vocab` and `prepare` on the command line: options arrive, bad text is one clear message."""

import io
import json

import pytest
from cli.commands import fails
from tiny_run import write_text

from electra_jax.cli import main
from electra_jax.text.tokenizers.tokenizer import load_tokenizer


def test_text_options_reach_the_vocabulary_and_the_rows(capsys, tmp_path):
    text = write_text(tmp_path / "text.txt", documents=80)
    vocab = ["vocab", f"--input={text}", "--type=bpe", "--size=330", "--byte_fallback",
             "--character_coverage=1.0", f"--limit_bytes={text.stat().st_size // 2}"]  # fmt: skip
    assert main([*vocab, f"--output={tmp_path / 'tok'}"]) == 0
    assert load_tokenizer(tmp_path / "tok").id_of("<0x41>") is not None
    prepare = ["prepare", f"--input={text}", f"--tokenizer={tmp_path / 'tok'}", "--workers=1",
               "--seq_len=64"]  # fmt: skip
    assert main([*prepare, f"--output={tmp_path / 'a'}", "--max_segments=1"]) == 0
    assert main([*prepare, f"--output={tmp_path / 'b'}", "--split_sentences"]) == 0
    one, split = (json.loads((tmp_path / x / "rows.json").read_text()) for x in "ab")
    assert one["statistics"]["max_segments"] == 1 < split["statistics"]["max_segments"]
    assert one["settings"]["split_sentences"] is False and split["settings"]["split_sentences"]
    for flags in ("--character_coverage=2",), ("--limit_bytes=0",):
        errors = fails(capsys, *vocab, *flags, f"--output={tmp_path / 'v'}")
        assert flags[0].split("=")[0].lstrip("-") in errors
    assert "--type=unigram or bpe" in fails(
        capsys, "vocab", f"--input={text}", "--byte_fallback", f"--output={tmp_path / 'v'}"
    )


@pytest.mark.parametrize(
    ("content", "name", "named"),
    [
        (b"", "empty.txt", "empty.txt"),
        (b"  \n \n", "blank.txt", "whitespace"),
        (b"good\n\nbad \xff\xfe here\n", "binary.txt", "binary.txt"),
        (b'{"text": "fine"}\nnot json\n', "lines.jsonl", "lines.jsonl:2"),
        (b'{"text": "fine"}\n{"body": "x"}\n', "field.jsonl", "field.jsonl:2"),
        (b"x" * (50 << 20) + b"\n", "long.txt", "long.txt"),
    ],
)
def test_bad_text_is_named(capsys, tmp_path, rows, content, name, named):
    file = tmp_path / name
    file.write_bytes(content)
    for verb in (
        ("vocab", "--size=100"),
        ("prepare", f"--tokenizer={rows / 'tokenizer'}", "--seq_len=16", "--workers=1"),
    ):
        output = tmp_path / f"out-{verb[0]}"
        errors = fails(capsys, verb[0], f"--input={file}", f"--output={output}", *verb[1:])
        assert named in errors
        assert not (output / "rows.json").exists() and not (output / "tokenizer.json").exists()


def test_a_glob_without_a_match_is_named(capsys, tmp_path):
    errors = fails(capsys, "vocab", f"--input={tmp_path}/*.txt", f"--output={tmp_path}/v")
    assert "*.txt" in errors


def test_text_in_another_script_than_the_tokenizer_s_is_noticed(capsys, rows, tmp_path):
    (tmp_path / "a.txt").write_text("कुछ शब्द यहाँ लिखे हैं\n\nऔर कुछ वहाँ\n" * 20, "utf-8")
    paths = [f"--input={tmp_path / 'a.txt'}", f"--output={tmp_path / 'out'}"]
    with_ = [f"--tokenizer={rows / 'tokenizer'}", "--seq_len=16", "--workers=1"]
    assert main(["prepare", *paths, *with_]) == 0
    assert "of the tokens are [UNK]" in capsys.readouterr().err


def test_a_vocabulary_larger_than_the_text_supports(capsys, tmp_path):
    text = write_text(tmp_path / "text.txt")
    errors = fails(capsys, "vocab", f"--input={text}", "--size=30000", f"--output={tmp_path}/v")
    assert "30000" in errors.replace(",", "")


def test_a_length_too_small_for_a_row(capsys, rows, tmp_path):
    text = write_text(tmp_path / "text.txt")
    errors = fails(
        capsys, "prepare", f"--input={text}", f"--tokenizer={rows / 'tokenizer'}",
        f"--output={tmp_path}/r", "--seq_len=2",
    )  # fmt: skip
    assert "seq_len" in errors


CASED = "US May John Paris NASA river us may stone nasa the value over\n\n" * 40


def test_a_cased_vocabulary_without_settings_keeps_case_and_says_so(caplog, tmp_path):
    (tmp_path / "a.txt").write_text(CASED)
    text, tok, bare = f"--input={tmp_path / 'a.txt'}", tmp_path / "tok", tmp_path / "bare"
    assert main(["vocab", "--cased", text, "--size=60", f"--output={tok}"]) == 0
    bare.mkdir()
    (bare / "vocab.txt").write_bytes((tok / "vocab.txt").read_bytes())
    hashes = {load_tokenizer(tok).hash}
    for number, given in enumerate((bare, tok / "vocab.txt", tok, tok / "tokenizer.json")):
        rows = tmp_path / f"rows{number}"
        arguments = [text, f"--tokenizer={given}", f"--output={rows}", "--seq_len=32"]
        assert main(["prepare", *arguments, "--workers=1"]) == 0
        said = "have capitals, so case is kept" in caplog.text
        assert said == (given == bare)
        caplog.clear()
        made = load_tokenizer(rows / "tokenizer")
        assert not made.do_lower_case
        assert made.encode("US") != made.encode("us")
        hashes.add(made.hash)
    assert len(hashes) == 1


def test_cased_is_for_vocabularies_that_do_not_say(capsys, tmp_path):
    words = "the river stone value runs over under near".split()
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    )
    (tmp_path / "a.txt").write_text("the river RUNS\n\nstone value\n")
    arguments = ["prepare", f"--input={tmp_path / 'a.txt'}", "--seq_len=8", "--workers=1",
                 f"--tokenizer={tmp_path / 'vocab.txt'}", "--cased"]  # fmt: skip
    assert main([*arguments, f"--output={tmp_path / 'rows'}"]) == 0
    assert not load_tokenizer(tmp_path / "rows" / "tokenizer").do_lower_case
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    errors = fails(capsys, *arguments, f"--output={tmp_path / 'other'}")
    assert "ignores case by its own settings" in errors


def test_vocab_shows_what_it_made_of_a_sample(capsys, tmp_path):
    text = write_text(tmp_path / "text.txt", documents=80)
    assert main(["vocab", f"--input={text}", "--size=120", f"--output={tmp_path / 'tok'}"]) == 0
    printed = capsys.readouterr()
    assert "tokens a word, " in printed.out and "0.00% [UNK] (a sample of " in printed.out
    assert printed.out.count("\n  ") + printed.out.startswith("  ") == 3  # encoded lines
    assert "training on " in printed.err
    assert "frequent" not in printed.err


def test_vocab_warns_where_frequent_characters_were_lost(capsys, tmp_path):
    marks = "कु खु गि घे चा छौ जै झो टी ठू डं ढः"
    (tmp_path / "a.txt").write_text(f"the river stone\n{marks}\n\n" * 90, "utf-8")
    arguments = [f"--input={tmp_path / 'a.txt'}", f"--output={tmp_path / 'tok'}"]
    assert main(["vocab", *arguments, "--size=30"]) == 0
    errors = capsys.readouterr().err
    assert "these became [UNK] though they are frequent: " in errors
    assert "(90 times)" in errors and "a larger --size" in errors


def test_prepare_shows_what_went_into_the_rows(capsys, rows, tmp_path):
    (tmp_path / "a.txt").write_text("The river.\n\nA stone.\n\nOne letter.\n")
    arguments = ["prepare", f"--input={tmp_path / 'a.txt'}", f"--tokenizer={rows / 'tokenizer'}"]
    assert main([*arguments, f"--output={tmp_path / 'r'}", "--seq_len=16", "--workers=1"]) == 0
    printed = capsys.readouterr()
    assert "3 documents, 29 characters, " in printed.out
    assert "% of the rows filled, 0.00% of the tokens [UNK]" in printed.out
    assert "reading the first text, starting processes" in printed.err  # while the bar is at 0 %


def test_documents_and_field_reach_both_verbs(capsys, tmp_path, rows):
    sentences = write_text(tmp_path / "text.txt").read_text().split("\n")
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"body": s}) for s in sentences))
    text = [f"--input={tmp_path / 'a.jsonl'}"]
    with_rows = [f"--tokenizer={rows / 'tokenizer'}", "--seq_len=16", "--workers=1"]
    for verb in (["vocab", "--size=100"], ["prepare", *with_rows]):
        output = f"--output={tmp_path / verb[0]}"
        assert "--field=NAME" in fails(capsys, verb[0], *text, *verb[1:], output)
        assert main([verb[0], *text, *verb[1:], output, "--field=body"]) == 0
    (tmp_path / "a.txt").write_text("the river\n\na stone\nlight\n")
    for documents, count in (("blank_lines", 2), ("lines", 3), ("files", 1), ("auto", 2)):
        arguments = [f"--input={tmp_path / 'a.txt'}", *with_rows, f"--documents={documents}"]
        assert main(["prepare", *arguments, f"--output={tmp_path / documents}"]) == 0
        header = json.loads((tmp_path / documents / "rows.json").read_text())
        assert header["statistics"]["documents"] == count
    assert "invalid choice: 'words'" in fails(
        capsys, "vocab", *text, "--documents=words", f"--output={tmp_path / 'v'}"
    )


def test_text_comes_through_a_pipe(monkeypatch, capsys, tmp_path, rows):
    text = b"the river\n\na stone\n\nlight\n"
    arguments = ["prepare", f"--tokenizer={rows / 'tokenizer'}", "--seq_len=16", "--workers=1"]
    (tmp_path / "a.txt").write_bytes(text)
    assert main([*arguments, f"--input={tmp_path / 'a.txt'}", f"--output={tmp_path / 'a'}"]) == 0
    for _ in range(2):  # the second time the folder is the same
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert main([*arguments, "--input", "-", f"--output={tmp_path / 'b'}"]) == 0
    one, two = (json.loads((tmp_path / x / "rows.json").read_text()) for x in "ab")
    assert one["fingerprint"] == two["fingerprint"]
