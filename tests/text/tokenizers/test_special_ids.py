"""The ids of special tokens come from the vocabulary, whatever their order and names."""

import json

from electra_jax.text.tokenizers.special_ids import ROLES, SpecialIds
from electra_jax.text.tokenizers.tokenizer import load_tokenizer


def test_roles_are_in_the_order_of_the_ids():
    assert ROLES == ("pad", "unk", "cls", "sep", "mask")
    assert SpecialIds(*range(5)) == SpecialIds(**{role: i for i, role in enumerate(ROLES)})


def test_special_ids_are_those_of_the_vocabulary(tmp_path):
    tokens = ["the", "[MASK]", "[SEP]", "a", "[CLS]", "[UNK]", "[PAD]"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n")
    tokenizer = load_tokenizer(tmp_path / "vocab.txt")
    assert tokenizer.special_ids == SpecialIds(pad=6, unk=5, cls=4, sep=2, mask=1)
    assert tokenizer.encode("the a x") == [0, 3, 5]
    assert tokenizer.vocab_size == 7


def test_special_tokens_with_other_names_are_found_through_the_config(tmp_path):
    tokens = ["<p>", "<u>", "<c>", "<e>", "<m>", "[UNK]", "the"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens))
    config = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), tokens))
    config["mask_token"] = {"content": "<m>", "lstrip": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_tokenizer(tmp_path).special_ids == SpecialIds(0, 1, 2, 3, 4)
