"""Model folders: whole or not at all, and their tokenizer, whose ids in `transformers` are ours."""

import gzip
import itertools
import json

import pytest
from interop import networks

from electra_jax.config.model import ElectraConfig
from electra_jax.errors import UserError
from electra_jax.interop.formats.model_folder import (
    copy_tokenizer,
    new_folder,
    read_json,
    special_ids,
    tokenizer_in,
    tokenizer_size,
)
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_model_folder
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

VOCABULARIES = {
    "pretrain_enwiki": "bert-base-uncased_electra-en_vocab.txt",
    "pretrain_zhwiki": "bert-base-chinese_vocab.txt",
}


def _texts(folder, count):
    with gzip.open(folder / "valid.jsonl.gz", "rt", encoding="utf-8") as lines:
        text = "".join(json.loads(line)["text"] for line in itertools.islice(lines, 20))
    assert len(text) > 120 * count
    return [text[120 * i : 120 * (i + 1)] for i in range(count)]


def _shape(vocab_size, block):
    return ElectraConfig(
        block=block,
        vocab_size=vocab_size,
        embedding_size=8,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=256,
    )


@pytest.mark.parametrize("block", ["bert", "modern"])
@pytest.mark.parametrize("vocabulary", VOCABULARIES.values())
def test_ids_of_an_exported_folder_equal_the_tokenizers_on_200_strings(
    shared_data, tmp_path, vocabulary, block
):
    transformers = pytest.importorskip("transformers")
    source = tmp_path / "tokenizer"
    ours = load_tokenizer(shared_data / "vocab" / vocabulary)
    ours.save(source)
    config = _shape(ours.vocab_size, block)
    params = networks.random_params(config, "discriminator")
    save_model_folder(tmp_path / "model", "discriminator", config, params, source)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    texts = [text for name in VOCABULARIES for text in _texts(shared_data / name, 100)]
    found = theirs(texts, add_special_tokens=False)["input_ids"]
    assert found == ours.encode_batch(texts)
    assert load_model_folder(tmp_path / "model").tokenizer.hash == ours.hash
    ids = ours.special_ids
    pair = theirs("a", "b", truncation=True)
    assert (pair["input_ids"][0], pair["input_ids"][-1]) == (ids.cls, ids.sep)
    # A ModernBERT class takes no token types, so its tokenizer must not make any.
    assert ("token_type_ids" in pair) == (block == "bert")
    assert theirs.model_max_length == 256
    stated = json.loads((tmp_path / "model/config.json").read_text())
    assert stated["pad_token_id"] == ids.pad
    if block == "modern":
        assert (stated["cls_token_id"], stated["sep_token_id"]) == (ids.cls, ids.sep)


def test_a_bare_vocabulary_gets_the_files_that_transformers_reads(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "Cat", "cat", "##s"]
    (tmp_path / "vocab").mkdir()
    (tmp_path / "vocab/vocab.txt").write_text("".join(f"{word}\n" for word in words))
    config = _shape(len(words), "bert")
    params = networks.random_params(config, "discriminator")
    for name, lower, expected in (("lower", True, [5, 7, 8]), ("cased", False, [5, 6, 8])):
        save_model_folder(
            tmp_path / name,
            "discriminator",
            config,
            params,
            tmp_path / "vocab",
            do_lower_case=lower,
        )
        assert load_model_folder(tmp_path / name).tokenizer.encode("the Cats") == expected
        stated = json.loads((tmp_path / name / "tokenizer_config.json").read_text())
        assert stated["do_lower_case"] == lower


def test_a_folder_appears_when_its_block_ends_and_not_where_it_fails(tmp_path):
    target = tmp_path / "new/model"
    with new_folder(target) as scratch:
        (scratch / "config.json").write_text("{}")
        assert not target.exists()
    assert [f.name for f in target.iterdir()] == ["config.json"]
    assert target.stat().st_mode & 0o777 == tmp_path.joinpath("new").stat().st_mode & 0o777
    with pytest.raises(RuntimeError), new_folder(target, overwrite=True):
        raise RuntimeError
    assert [f.name for f in target.iterdir()] == ["config.json"]
    assert [f.name for f in target.parent.iterdir()] == ["model"]


def test_only_a_model_s_files_are_replaced_and_only_on_request(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("old")
    with pytest.raises(UserError, match="not empty"), new_folder(tmp_path / "model"):
        pass
    (tmp_path / "model/notes.txt").write_text("the user's")
    with pytest.raises(UserError, match="not empty"), new_folder(tmp_path / "model", True):
        pass
    (tmp_path / "model/notes.txt").unlink()
    with new_folder(tmp_path / "model", True) as scratch:
        (scratch / "vocab.txt").write_text("new")
    assert [f.name for f in (tmp_path / "model").iterdir()] == ["vocab.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not empty"), new_folder(tmp_path / "file", True):
        pass


def test_what_stands_beside_a_model(tmp_path):
    assert tokenizer_in(tmp_path) is None and tokenizer_size(tmp_path) is None
    assert special_ids(tmp_path) == special_ids(None) == {}
    with pytest.raises(UserError, match="no tokenizer files"):
        copy_tokenizer(tmp_path, tmp_path / "copy")
    words = ["[MASK]", "[UNK]", "[CLS]", "[SEP]", "[PAD]", "a"]
    folder = networks.tokenizer_folder(tmp_path / "words", words)
    assert tokenizer_in(folder) == folder and tokenizer_size(folder) == 6
    assert special_ids(folder) == {"pad": 4, "unk": 1, "cls": 2, "sep": 3, "mask": 0}
    for name, content in (("list.json", "[1]"), ("torn.json", "{"), ("absent.json", None)):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=name):
            read_json(tmp_path / name)
