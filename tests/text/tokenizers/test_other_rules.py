"""Vocabularies whose tokenizer does more than their file holds are refused, by name and reason."""

import json

import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.tokenizer import load_tokenizer
from electra_jax.text.tokenizers.train import train_vocabulary

CASED, LOWER, BARE = {"lower_case": False}, {}, {"strip_accents": True}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The bytes of SentencePiece models that keep case and accents, only accents, or neither."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "a.txt").write_text("The quick Brown fox, the Lazy dog and NASA; café\n" * 60)
    made = {}
    for name, options in (("cased", CASED), ("lower", LOWER), ("bare", BARE)):
        train_vocabulary(
            [str(folder / "a.txt")], "bpe", 45, folder / name, **options, progress=False
        )
        made[name] = (folder / name / "spiece.model").read_bytes()
    return made


ALBERT = "AlbertTokenizer"


@pytest.mark.parametrize(
    ("model", "config", "reason"),
    [
        ("cased", {"tokenizer_class": ALBERT}, "keeps case, but its tokenizer"),
        ("lower", {"tokenizer_class": ALBERT}, "keeps accents, but its tokenizer"),
        ("bare", {"tokenizer_class": ALBERT}, None),
        ("cased", {"tokenizer_class": ALBERT, "do_lower_case": False, "keep_accents": True}, None),
        ("cased", {"tokenizer_class": "XLNetTokenizerFast"}, "keeps accents"),
        ("cased", {"tokenizer_class": "DebertaV2Tokenizer"}, None),
        ("cased", {"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": True}, "keeps case"),
        ("lower", {"tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": True}, None),
        ("lower", {"tokenizer_class": "XLMRobertaTokenizer"}, "renumbers its ids"),
        ("lower", {"tokenizer_class": "CamembertTokenizer"}, "renumbers its ids"),
        ("lower", {}, None),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_sentencepiece_models(models, tmp_path, model, config, reason, named):
    (tmp_path / "spiece.model").write_bytes(models[model])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    path = tmp_path / "spiece.model" if named else tmp_path
    if reason is None:
        assert load_tokenizer(path).kind == "bpe"
    else:
        with pytest.raises(UserError, match=rf"spiece\.model .*{reason}.*tokenizer\.json is there"):
            load_tokenizer(path)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "found by mecab and split by wordpiece"),
        (
            {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "sudachi"},
            "found by sudachi",
        ),
        (
            {"word_tokenizer_type": "basic", "subword_tokenizer_type": "character"},
            "split by character;",
        ),
        ({"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic"}, None),
        ({"tokenizer_class": "ElectraTokenizer"}, None),
    ],
)
def test_vocabularies_of_words(vocab_file, tmp_path, config, reason):
    config["do_lower_case"] = False
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    if reason is None:
        assert load_tokenizer(tmp_path).kind == "wordpiece"
    else:
        with pytest.raises(UserError, match=rf"vocab\.txt is the vocabulary of .*{reason}"):
            load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", [ALBERT, "DebertaV2Tokenizer"])
def test_a_model_that_is_not_refused_has_the_ids_of_transformers(models, tmp_path, name):
    transformers = pytest.importorskip("transformers")
    config = {"tokenizer_class": name, "do_lower_case": False, "keep_accents": True}
    roles = {"bos": "[CLS]", "cls": "[CLS]", "eos": "[SEP]", "sep": "[SEP]"}
    config |= {f"{role}_token": token for role, token in roles.items()}
    config |= {"unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    for file in ("spiece.model", "spm.model"):
        (tmp_path / file).write_bytes(models["cased"])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    texts = ["The Brown café NASA nasa", "lazy, dog"]
    theirs = getattr(transformers, name).from_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path / "spiece.model")
    assert ours.encode_batch(texts) == theirs(texts, add_special_tokens=False)["input_ids"]
