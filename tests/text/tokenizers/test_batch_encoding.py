"""A batch of texts: the ids of `transformers`, recorded, and compared where it is installed."""

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

VOCAB = "[PAD] [UNK] [CLS] [SEP] [MASK] the a river ##s stone old cafe run ##ning , . 中".split()
TEXTS = ["The old café, running.", "rivers", "", "a stone 中 the rivers running old", "the a"]
PAIRS = ["a river", "the old stones running.", "old", "stones", ""]

# What transformers 5's tokenizer gives, by (pairs, max_length); padding is left out.
RECORDED = {
    (False, None): [
        [2, 5, 10, 11, 14, 12, 13, 15, 3],
        [2, 7, 8, 3],
        [2, 3],
        [2, 6, 9, 16, 5, 7, 8, 12, 13, 10, 3],
        [2, 5, 6, 3],
    ],
    (True, None): [
        [2, 5, 10, 11, 14, 12, 13, 15, 3, 6, 7, 3],
        [2, 7, 8, 3, 5, 10, 9, 8, 12, 13, 15, 3],
        [2, 3, 10, 3],
        [2, 6, 9, 16, 5, 7, 8, 12, 13, 10, 3, 9, 8, 3],
        [2, 5, 6, 3, 3],
    ],
    (False, 6): [
        [2, 5, 10, 11, 14, 3],
        [2, 7, 8, 3],
        [2, 3],
        [2, 6, 9, 16, 5, 3],
        [2, 5, 6, 3],
    ],
    (True, 8): [
        [2, 5, 10, 11, 3, 6, 7, 3],
        [2, 7, 8, 3, 5, 10, 9, 3],
        [2, 3, 10, 3],
        [2, 6, 9, 16, 3, 9, 8, 3],
        [2, 5, 6, 3, 3],
    ],
    (True, 9): [
        [2, 5, 10, 11, 14, 3, 6, 7, 3],
        [2, 7, 8, 3, 5, 10, 9, 8, 3],
        [2, 3, 10, 3],
        [2, 6, 9, 16, 5, 3, 9, 8, 3],
        [2, 5, 6, 3, 3],
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer folder of a few words."""
    file = tmp_path_factory.mktemp("tokenizer") / "vocab.txt"
    file.write_text("".join(f"{token}\n" for token in VOCAB), "utf-8")
    load_tokenizer(file).save(file.parent / "saved")
    return file.parent / "saved"


@pytest.mark.parametrize(("pairs", "max_length"), RECORDED)
def test_rows_are_the_recorded_ids_padded_on_the_right(folder, pairs, max_length):
    tokenizer = load_tokenizer(folder)
    batch = tokenizer(TEXTS, PAIRS if pairs else None, max_length)
    expected = RECORDED[pairs, max_length]
    length = max(map(len, expected))
    for row, mask, types, ids in zip(
        batch.input_ids, batch.attention_mask, batch.token_type_ids, expected, strict=True
    ):
        assert row.tolist() == ids + [0] * (length - len(ids))
        assert mask.tolist() == [1] * len(ids) + [0] * (length - len(ids))
        second = len(ids) - ids.index(3) - 1  # the second text and its [SEP]
        assert types.tolist() == [0] * (len(ids) - second) + [1] * second + [0] * (
            length - len(ids)
        )
    assert {str(x.dtype) for x in batch.values()} == {"int32"}


@pytest.mark.parametrize(("pairs", "max_length"), [*RECORDED, (True, 5), (True, 10), (True, 11)])
def test_rows_are_those_of_transformers(folder, pairs, max_length):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)(
        TEXTS, PAIRS if pairs else None, padding=True, max_length=max_length,
        truncation=max_length is not None, return_tensors="np", return_token_type_ids=True,
    )  # fmt: skip
    mine = load_tokenizer(folder)(TEXTS, PAIRS if pairs else None, max_length)
    assert set(mine) == set(theirs) == {"input_ids", "attention_mask", "token_type_ids"}
    for name in mine:
        assert np.array_equal(mine[name], theirs[name])


def test_a_batch_is_a_mapping_of_its_fields(folder):
    batch = load_tokenizer(folder)("the river", "a stone")
    assert list(batch) == ["input_ids", "attention_mask", "token_type_ids"] and len(batch) == 3
    assert {**batch}["input_ids"] is batch.input_ids and "labels" not in batch
    assert batch.input_ids.shape == (1, 7)
    with pytest.raises(KeyError):
        batch["__class__"]


def test_a_tokenizer_may_have_a_limit_of_its_own(folder):
    tokenizer = load_tokenizer(folder)
    tokenizer.max_length = 6
    assert tokenizer(TEXTS).input_ids.shape == (5, 6)
    assert tokenizer(TEXTS, max_length=9).input_ids.shape == (5, 9)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((["a", 3],), "3 is not a string"),
        ((["a", "the"], ["a"]), "2 texts and 1 second texts"),
        ((["a"], None, 2), "max_length=2: too short"),
        ((["a"], ["a"], 4), "max_length=4: too short"),
    ],
)
def test_what_is_no_batch_is_named(folder, arguments, named):
    with pytest.raises(UserError, match=named):
        load_tokenizer(folder)(*arguments)
