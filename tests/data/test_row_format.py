"""The format of a rows folder: which documents are held out, types, and what the reader refuses."""

import numpy as np
import pytest

from electra_jax.data.row_format import (
    Split,
    check_eval_fraction,
    fingerprint,
    header_problem,
    held_out,
    row_statistics,
    rows_dtype,
    shard_name,
    split_problem,
)
from electra_jax.errors import UserError
from electra_jax.text.tokenizers.special_ids import ROLES


def test_held_out_documents_depend_on_seed_and_number_alone():
    whole = held_out(3, 0.1, 0, 10_000)
    parts = [held_out(3, 0.1, first, 100) for first in range(0, 10_000, 100)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert abs(whole.mean() - 0.1) < 0.01
    assert not np.array_equal(whole, held_out(4, 0.1, 0, 10_000))
    assert held_out(3, 0.0, 0, 100).sum() == 0
    # Golden: a new version must not move documents between training and evaluation.
    assert np.flatnonzero(held_out(0, 0.05, 0, 100)).tolist() == GOLDEN


GOLDEN = [1, 13, 28, 66, 78, 94, 97]


def test_ids_are_stored_in_the_smallest_type_that_holds_them():
    assert rows_dtype(30522) == rows_dtype(2**16) == "uint16"
    assert rows_dtype(2**16 + 1) == "uint32"


def test_shards_sort_by_name_as_by_number():
    names = [shard_name("train", number) for number in (0, 9, 10, 12345)]
    assert names == sorted(names)
    assert names[2] == "train-00010.bin"


def test_statistics_are_sums_and_shares_over_both_splits():
    splits = {
        "train": Split(rows=3, tokens=20, max_segments=2, documents=4),
        "eval": Split(rows=1, tokens=4, max_segments=3, documents=1),
    }
    counts = {"documents": 5, "tokens": 16, "unknown_tokens": 4}
    assert row_statistics(counts, splits, seq_len=8) == {
        **counts,
        "unknown_rate": 0.25,
        "rows": 4,
        "fill_rate": 24 / 32,
        "max_segments": 3,
    }


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(fraction):
    check_eval_fraction(0)
    with pytest.raises(UserError, match=r"eval_fraction is .* must be in \[0, 1\)"):
        check_eval_fraction(fraction)


def header():
    return {
        "format": 1,
        "seq_len": 8,
        "dtype": "uint16",
        "vocab_size": 100,
        "special_ids": dict(zip(ROLES, range(5), strict=True)),
        "packing": "full",
        "fingerprint": "f",
        "tokenizer_hash": "t",
        "splits": {},
    }


def test_the_fingerprint_is_that_of_format_tokenizer_and_shards():
    splits = {"train": {"rows": 2, "shards": [{"file": "a", "rows": 2, "sha256": "1"}]}}
    first = fingerprint(header(), splits)
    assert fingerprint({**header(), "packing": "reference"}, splits) == first
    assert fingerprint({**header(), "tokenizer_hash": "u"}, splits) != first
    other = {"train": {"rows": 2, "shards": [{"file": "a", "rows": 2, "sha256": "2"}]}}
    assert fingerprint(header(), other) != first


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("seq_len", 0, "seq_len is 0"),
        ("vocab_size", True, "vocab_size is True"),
        ("packing", None, "packing is None"),
        ("dtype", "int8", "dtype is 'int8'"),
        ("special_ids", {**header()["special_ids"], "mask": 100}, "special_ids.mask is 100"),
        ("splits", [], "splits is missing"),
    ],
)
def test_a_wrong_field_of_rows_json_is_named(field, value, problem):
    assert header_problem(header()) is None
    assert header_problem({**header(), field: value}).startswith(problem)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("rows", -1, "rows is -1"),
        ("shards", None, "shards is missing"),
        ("shards", [{"file": "a", "sha256": "b"}], "a shard has no number of rows"),
        ("shards", [{"file": "a", "rows": 1}], "a shard has no file name"),
    ],
)
def test_a_wrong_field_of_a_split_is_named(field, value, problem):
    entry = {"rows": 0, "tokens": 0, "max_segments": 0, "shards": []}
    assert split_problem(entry) is None
    assert split_problem({**entry, field: value}).startswith(problem)
