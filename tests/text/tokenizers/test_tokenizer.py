"""Tokenizers: the reference's ids, Hugging Face's folders, and specials that text cannot make."""

import itertools
import json

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.tokenizer import SpecialIds, load_tokenizer

GREEK_FINAL_SIGMA = "ΑΒΓ αβγ ΣΊΣΥΦΟΣ"


def recorded(oracles):
    return json.loads((oracles / "tokenization" / "tokenization.json").read_text("utf-8"))


@pytest.mark.parametrize("combination", range(8))
def test_wordpiece_gives_the_reference_ids_on_every_recorded_string(oracles, combination):
    oracle = recorded(oracles)
    setting = oracle["combinations"][combination]
    same = setting.get("same_results_as_combination", combination)
    results = oracle["combinations"][same]["results"]
    tokenizer = load_tokenizer(
        oracles / "tokenization" / setting["vocab"],
        do_lower_case=setting["do_lower_case"],
        strip_accents=setting["strip_accents"],
    )
    texts = [string["text"] for string in oracle["strings"]]
    different = [
        text
        for text, result, ids in zip(texts, results, tokenizer.encode_batch(texts))
        if ids != result["ids"] or tokenizer.ids_to_tokens(ids) != result["tokens"]
    ]
    # Python's lower() writes a sigma at the end of a word differently; where accents are stripped
    # and the piece with a final sigma is in the vocabulary, that shows.
    assert set(different) <= {GREEK_FINAL_SIGMA}
    assert len(texts) in (311, 241)  # all, or those in the committed tables


def test_the_three_ways_to_encode_agree(oracles):
    oracle = recorded(oracles)
    texts = [string["text"] for string in oracle["strings"]]
    for vocab, lower in itertools.product(("uncased", "cased_small"), (True, False)):
        tokenizer = load_tokenizer(
            oracles / "tokenization" / f"vocab_{vocab}.txt", do_lower_case=lower
        )
        each = [tokenizer.encode(text) for text in texts]
        assert tokenizer.encode_batch(texts) == each
        for _ in range(2):  # the second time, words are remembered
            ids, counts = tokenizer.encode_flat(texts)
            assert (ids.dtype, counts.dtype) == (np.int32, np.int64)
            assert counts.tolist() == [len(e) for e in each]
            assert ids.tolist() == list(itertools.chain(*each))


def test_accents_are_stripped_where_lower_casing_unless_told_otherwise(vocab_file):
    def tokens(**options):
        tokenizer = load_tokenizer(vocab_file, **{"do_lower_case": True, **options})
        return tokenizer.ids_to_tokens(tokenizer.encode("Café"))

    assert tokens() == ["cafe"]
    assert tokens(strip_accents=False) == ["caf", "##é"]
    assert tokens(do_lower_case=False) == ["[UNK]"]
    assert tokens(do_lower_case=False, strip_accents=True) == ["[UNK]"]  # as the reference
    assert load_tokenizer(vocab_file, do_lower_case=True).do_lower_case
    assert not load_tokenizer(vocab_file, do_lower_case=False).do_lower_case


def test_offsets_are_characters_of_the_original_text(vocab_file):
    tokenizer = load_tokenizer(vocab_file, do_lower_case=True)
    text = " The  CAFÉ, 中文."
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text)
    assert [text[a:b] for a, b in offsets] == ["The", "CAFÉ", ",", "中", "文", "."]


def test_decoding_joins_pieces_and_drops_specials(vocab_file):
    tokenizer = load_tokenizer(vocab_file, do_lower_case=True)
    ids = [2, *tokenizer.encode("unaffable the"), 3, 0]
    assert tokenizer.decode(ids) == "unaffable the"
    assert tokenizer.decode(ids, skip_special_tokens=False) == "[CLS] unaffable the [SEP] [PAD]"


def test_saving_and_loading_changes_nothing(vocab_file, tmp_path):
    for number, options in enumerate(
        [{}, {"strip_accents": False}, {"do_lower_case": False}, {"tokenize_chinese_chars": False}]
    ):
        tokenizer = load_tokenizer(vocab_file, **{"do_lower_case": True, **options})
        tokenizer.save(tmp_path / str(number))
        again = load_tokenizer(tmp_path / str(number))
        assert (again.hash, again.special_ids) == (tokenizer.hash, tokenizer.special_ids)
        again.save(tmp_path / "again")
        for file in (tmp_path / str(number)).iterdir():
            assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_a_folder_with_a_vocabulary_and_a_config_obeys_the_config(vocab_file, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "vocab.txt").write_bytes(vocab_file.read_bytes())
    assert not load_tokenizer(folder).do_lower_case  # a token in capitals
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert load_tokenizer(folder).do_lower_case
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert not load_tokenizer(folder).do_lower_case


@pytest.mark.parametrize("options", [{}, {"strip_accents": False}, {"do_lower_case": False}])
def test_transformers_gives_the_same_ids_from_a_saved_folder(oracles, tmp_path, options):
    transformers = pytest.importorskip("transformers")
    tokenizer = load_tokenizer(oracles / "tokenization" / "vocab_uncased.txt", **options)
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [string["text"] for string in recorded(oracles)["strings"]]
    texts = [text for text in texts if "[CLS]" not in text] + ["a" * 150, "é" * 199]
    assert theirs(texts, add_special_tokens=False)["input_ids"] == tokenizer.encode_batch(texts)
    pair = theirs("one two", "three")
    a, b = tokenizer.encode("one two"), tokenizer.encode("three")
    special = tokenizer.special_ids
    assert pair["input_ids"] == [special.cls, *a, special.sep, *b, special.sep]
    assert pair["token_type_ids"] == [0] * (len(a) + 2) + [1] * (len(b) + 1)
    assert (theirs.pad_token_id, theirs.mask_token_id) == (special.pad, special.mask)
    theirs.save_pretrained(tmp_path / "theirs")
    assert load_tokenizer(tmp_path / "theirs").hash == tokenizer.hash


def test_a_folder_that_transformers_made_loads_as_it_is(vocab_file, tmp_path):
    transformers = pytest.importorskip("transformers")
    vocab = {token: i for i, token in enumerate(vocab_file.read_text("utf-8").split())}
    theirs = transformers.BertTokenizer(vocab=vocab, do_lower_case=False, strip_accents=True)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_tokenizer(tmp_path / "theirs")
    texts = ["The Café, 中文", "CAFE C a", "un" + "aff" * 40]
    assert ours.encode_batch(texts) == theirs(texts, add_special_tokens=False)["input_ids"]
    ours.save(tmp_path / "ours")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert again(texts)["input_ids"] == theirs(texts)["input_ids"]
    assert type(again) is type(theirs)


def test_byte_level_bpe_loads_and_text_makes_no_special_id(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    model = tokenizers.ByteLevelBPETokenizer()
    model.train_from_iterator(
        ["the quick brown fox"] * 9, vocab_size=300, special_tokens=special, show_progress=False
    )
    model._tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.kind == "bpe"
    assert tokenizer.special_ids == SpecialIds(pad=1, unk=3, cls=0, sep=2, mask=4)
    assert not set(range(5)) & set(tokenizer.encode("<s> the <mask></s>"))
    assert tokenizer.encode("the quick") == model.encode("the quick").ids


def test_bad_tokenizers_are_named(tmp_path, vocab_file):
    def assert_fails(path, match):
        with pytest.raises(UserError, match=match):
            load_tokenizer(path)

    assert_fails(tmp_path / "none", "no tokenizer at .*none")
    (tmp_path / "empty").mkdir()
    assert_fails(
        tmp_path / "empty", r"empty holds no tokenizer \(none of tokenizer.json, vocab.txt"
    )
    (tmp_path / "a.bin").write_text("x")
    assert_fails(tmp_path / "a.bin", "is not a tokenizer; give a folder")
    (tmp_path / "a.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n")
    assert_fails(tmp_path / "a.txt", r"a\.txt has no mask token \(looked for \[MASK\] and <mask>\)")
    (tmp_path / "b.txt").write_text("the\n")
    assert_fails(tmp_path / "b.txt", r"b\.txt has no \[UNK\] token")
    (tmp_path / "c.txt").write_text("")
    assert_fails(tmp_path / "c.txt", r"c\.txt is empty")
    (tmp_path / "d.txt").write_bytes(b"[PAD]\n\xff\n")
    assert_fails(tmp_path / "d.txt", r"d\.txt is not UTF-8 text: byte 6")
    (tmp_path / "m.model").write_bytes(b"not a model")
    assert_fails(tmp_path / "m.model", r"m\.model is not a SentencePiece model")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "tokenizer.json").write_text("{")
    assert_fails(broken, r"tokenizer\.json is not JSON")
    (broken / "tokenizer.json").write_text('{"model": {"type": "WordLevel"}}')
    assert_fails(broken, "of kind WordLevel are not supported")
    load_tokenizer(vocab_file, do_lower_case=True).save(broken)
    definition = json.loads((broken / "tokenizer.json").read_text("utf-8"))
    definition["pre_tokenizer"] = {"type": "Unheard"}
    (broken / "tokenizer.json").write_text(json.dumps(definition))
    assert_fails(broken, r"tokenizer\.json is not a tokenizer that `tokenizers` reads")
