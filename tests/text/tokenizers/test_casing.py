"""Case and accents of a vocabulary without settings: from its tokens, and said."""

import json

import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.casing import options_of
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]", "[SEP2]"]
CASED = [*SPECIAL, "us", "US", "may", "May", "j", "##ohn", "nasa", "NASA"]
LOWER = [*SPECIAL, *(f"w{i}" for i in range(300)), "us", "may"]
ACCENTED = [*LOWER, *"äöüß", "für", "##ü", "##ö"]


def options(vocab, config=None, **given):
    found = options_of(vocab, "v.txt", config or {}, **given)
    return found.do_lower_case, found.strip_accents


@pytest.mark.parametrize(
    ("vocab", "config", "given", "expected"),
    [
        (CASED, {}, {}, (False, None)),
        (LOWER, {}, {}, (True, None)),
        ([*LOWER, "COVID"], {}, {}, (True, None)),  # one word that somebody added
        (SPECIAL, {}, {}, (True, None)),
        (["[UNK]", "中", "文", "かが"], {}, {}, (True, False)),  # が is か with a mark
        (ACCENTED, {}, {}, (True, False)),
        (ACCENTED, {"do_lower_case": True}, {}, (True, None)),  # as transformers reads it
        (ACCENTED, {"strip_accents": True}, {}, (True, True)),
        (ACCENTED, {}, {"strip_accents": True}, (True, True)),
        (CASED, {"do_lower_case": True}, {}, (True, None)),
        (LOWER, {"do_lower_case": False}, {}, (False, None)),
        (CASED, {"model_max_length": 512}, {}, (False, None)),  # a file that does not say
        (LOWER, {"do_lower_case": None}, {"do_lower_case": False}, (False, None)),
        (CASED, {}, {"do_lower_case": True}, (True, None)),
        (LOWER, {}, {"do_lower_case": False}, (False, None)),
        (CASED, {"do_lower_case": True}, {"do_lower_case": False}, (True, None)),
    ],
)
def test_a_file_goes_before_the_caller_and_the_caller_before_the_tokens(
    vocab, config, given, expected
):
    assert options(vocab, config, **given) == expected


@pytest.mark.parametrize(
    ("vocab", "config", "expected"),
    [
        (CASED, {}, "3 of 8 tokens (US, May, NASA) have capitals, so case is kept; if that is"),
        (LOWER, {}, "0 of 302 tokens have capitals, so text is lower-cased; if that is wrong, wr"),
        (ACCENTED, {}, "6 of 309 tokens (ä, ö, ü, …) have accents, so these are kept"),
        (CASED, {"do_lower_case": True}, "have capitals and are never used, since text is lower"),
        (ACCENTED, {"do_lower_case": True}, "never used, since accents are stripped; if that is"),
        (LOWER, {"do_lower_case": True}, ""),
        (CASED, {"do_lower_case": False}, ""),
    ],
)
def test_a_guess_is_logged_with_counts_and_the_remedy(vocab, config, expected, caplog, tmp_path):
    options_of(vocab, str(tmp_path / "v.txt"), config)
    assert expected in caplog.text
    assert bool(expected) == bool(caplog.text)


def test_a_note_is_logged_once_for_a_file(tmp_path, caplog):
    (tmp_path / "vocab.txt").write_text("\n".join(CASED))
    for _ in range(3):
        assert not load_tokenizer(tmp_path).do_lower_case
    assert len(caplog.messages) == 1


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(CASED))
    return tmp_path


def test_what_stands_beside_a_named_file_belongs_to_it(folder, caplog):
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "cls_token": "us"}')
    named = load_tokenizer(folder / "vocab.txt")
    assert named.do_lower_case
    assert named.special_tokens["cls"] == "us"
    assert named.hash == load_tokenizer(folder).hash


def test_a_named_file_of_a_whole_folder_is_the_folder(folder, tmp_path):
    whole = load_tokenizer(folder / "vocab.txt", do_lower_case=False)
    whole.save(tmp_path / "saved")
    for name in ("vocab.txt", "tokenizer.json"):
        assert load_tokenizer(tmp_path / "saved" / name).hash == whole.hash
    # Another vocabulary under that name is not the one that tokenizer.json describes.
    (tmp_path / "saved" / "vocab.txt").write_text("\n".join([*CASED, "more"]))
    assert load_tokenizer(tmp_path / "saved" / "vocab.txt").vocab_size == whole.vocab_size + 1


@pytest.mark.parametrize("stored", [True, False])
def test_settings_that_contradict_the_caller_are_refused(folder, stored):
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": stored}))
    load_tokenizer(folder, do_lower_case=stored)
    does = "ignores" if stored else "keeps"
    with pytest.raises(UserError, match=rf"{does} case by its own settings, against"):
        load_tokenizer(folder, do_lower_case=not stored)
