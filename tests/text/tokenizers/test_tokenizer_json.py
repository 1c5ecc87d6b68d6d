"""The content of tokenizer.json: special tokens found and guarded, hash, transformers' files."""

import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.tokenizer import load_tokenizer
from electra_jax.text.tokenizers.tokenizer_json import (
    added_token,
    as_json,
    declare_special_tokens,
    find_special_token,
    guard_special_tokens,
    read_json,
    transformers_config,
)
from electra_jax.text.tokenizers.wordpiece import (
    TRANSFORMERS_WORD_LIMIT,
    Options,
    tokenizer_definition,
)

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BY_ROLE = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL_TOKENS))


def test_a_named_token_goes_before_the_usual_ones_where_it_is_known():
    known = {"<p>", "[PAD]"}
    assert find_special_token({"pad_token": "<p>"}, "pad", known) == "<p>"
    assert find_special_token({"pad_token": {"content": "<p>"}}, "pad", known) == "<p>"
    assert find_special_token({"pad_token": "<other>"}, "pad", known) == "[PAD]"
    assert find_special_token({}, "mask", known) is None


def test_special_tokens_are_declared_once_and_in_the_order_of_their_ids():
    definition = tokenizer_definition([*SPECIAL_TOKENS, "the"], Options(), "a test")
    definition["added_tokens"] = [added_token(9, "<new>"), added_token(0, "[PAD]")]
    declared, by_role = declare_special_tokens(definition, {}, "a test")
    assert by_role == BY_ROLE
    assert [token["id"] for token in declared["added_tokens"]] == [0, 1, 2, 3, 4, 9]


def test_two_roles_cannot_share_a_token():
    definition = tokenizer_definition([*SPECIAL_TOKENS, "the"], Options(), "a test")
    with pytest.raises(UserError, match=r"two special tokens share one id .*each needs its own"):
        declare_special_tokens(definition, {"sep_token": "[CLS]"}, "a test")


def test_guarded_names_cannot_be_written_and_other_tokens_keep_theirs():
    definition = tokenizer_definition([*SPECIAL_TOKENS, "the"], Options(), "a test")
    declared, _ = declare_special_tokens(definition, {}, "a test")
    vocab = guard_special_tokens(declared, SPECIAL_TOKENS)["model"]["vocab"]
    assert sorted(vocab.values()) == list(range(6)) and vocab["the"] == 5
    assert not set(SPECIAL_TOKENS) & set(vocab)
    assert all(" " in token for token in vocab if token != "the")
    assert "[CLS]" in declared["model"]["vocab"]  # the original is left as it was


@pytest.mark.parametrize(
    ("limit", "name"),
    [(TRANSFORMERS_WORD_LIMIT, "BertTokenizer"), (200, "PreTrainedTokenizerFast")],
)
def test_the_class_that_transformers_loads_keeps_the_word_limit(limit, name):
    options = Options(do_lower_case=False, word_limit=limit)
    definition = tokenizer_definition(SPECIAL_TOKENS, options, "a test")
    config = transformers_config(definition, BY_ROLE)
    assert config["tokenizer_class"] == name
    assert (config["do_lower_case"], config["strip_accents"]) == (False, False)
    assert config["mask_token"] == "[MASK]"


def test_json_files_are_objects_in_utf8(tmp_path):
    file = tmp_path / "a.json"
    assert read_json(file) == {}
    file.write_bytes(as_json({"token": "é中"}))
    assert "é中".encode() in file.read_bytes()
    assert read_json(file) == {"token": "é中"}
    file.write_text("[1]")
    with pytest.raises(UserError, match=r"a\.json is not a JSON object"):
        read_json(file)


def test_text_never_makes_a_special_id(vocab_file):
    tokenizer = load_tokenizer(vocab_file, do_lower_case=True)
    text = "[CLS] [SEP][PAD] the[MASK] \0[CLS] [cls]"
    special = set(range(5)) - {tokenizer.special_ids.unk}
    ids, _ = tokenizer.encode_flat([text])
    for found in (tokenizer.encode(text), tokenizer.encode_batch([text])[0], ids.tolist()):
        assert not special & set(found)
    assert tokenizer.ids_to_tokens(tokenizer.encode("[CLS]")) == ["[", "cl", "##s", "]"]
    assert tokenizer.ids_to_tokens(tokenizer.encode("cls")) == ["cl", "##s"]


def test_the_hash_names_all_that_defines_ids_and_nothing_else(vocab_file, tmp_path):
    tokenizer = load_tokenizer(vocab_file, do_lower_case=True)
    # What None means where text is lower-cased:
    same = load_tokenizer(vocab_file, do_lower_case=True, strip_accents=True)
    assert tokenizer.hash == same.hash
    others = [
        load_tokenizer(vocab_file, do_lower_case=False),
        load_tokenizer(vocab_file, do_lower_case=True, strip_accents=False),
        load_tokenizer(vocab_file, do_lower_case=True, tokenize_chinese_chars=False),
    ]
    tokens = vocab_file.read_text("utf-8").split()
    swapped = [*tokens[:-2], tokens[-1], tokens[-2]]
    (tmp_path / "other.txt").write_text("\n".join(swapped))
    others.append(load_tokenizer(tmp_path / "other.txt", do_lower_case=True))
    assert len({tokenizer.hash, *(other.hash for other in others)}) == 5
