"""Trees nested and flat by name."""

import numpy as np
import pytest

from electra_jax.modeling.trees import flatten, unflatten

TREE = {"a": {"b": {"kernel": 1, "bias": 2}, "c": [3, 4]}, "d": np.arange(3)}


def test_flat_names_are_paths_and_only_mappings_are_entered():
    flat = flatten(TREE)
    assert list(flat) == ["a/b/kernel", "a/b/bias", "a/c", "d"]
    assert flat["a/c"] is TREE["a"]["c"] and flat["d"] is TREE["d"]
    assert list(flatten(TREE["a"], "a/")) == list(flat)[:3]


def test_there_and_back_is_the_same_tree_without_copies():
    back = unflatten(flatten(TREE))
    assert back == TREE and back["d"] is TREE["d"]
    assert unflatten({}) == {} and flatten({"a": {}}) == {}


def test_a_name_cannot_be_a_leaf_and_a_branch():
    with pytest.raises((AttributeError, TypeError)):
        unflatten({"a": 1, "a/b": 2})
