"""Tensors by name ⇄ trees: stacked layers, transposes, and what does not fit."""

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.interop.mapping.names import Row
from electra_jax.interop.mapping.tensors import as_float32, check_shapes, gather, scatter

ROWS = [
    Row("a/kernel", "a.weight", "a/kernel", transpose=True),
    Row("layer/kernel", "layer.{i}.weight", "layer_{i}/kernel", transpose=True, layers=range(2)),
    Row("layer/bias", "layer.{i}.bias", None, layers=range(2)),
]


def _tensors():
    rng = np.random.default_rng(0)
    shapes = {"a.weight": (3, 2)}
    shapes |= {f"layer.{i}.weight": (4, 5) for i in range(2)}
    shapes |= {f"layer.{i}.bias": (4,) for i in range(2)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_layers_are_stacked_and_kernels_transposed_there_and_back():
    tensors = _tensors()
    tree, used = gather(ROWS, {**tensors, "other": np.zeros(1)}, "huggingface", "here")
    assert used == set(tensors)
    assert np.array_equal(tree["a"]["kernel"], tensors["a.weight"].T)
    assert tree["layer"]["kernel"].shape == (2, 5, 4)
    assert np.array_equal(tree["layer"]["kernel"][1], tensors["layer.1.weight"].T)
    assert np.array_equal(tree["layer"]["bias"][1], tensors["layer.1.bias"])
    back = scatter(ROWS, tree, "huggingface")
    assert back.keys() == tensors.keys()
    assert all(np.array_equal(back[n], tensors[n]) and back[n].flags.c_contiguous for n in back)


def test_a_dialect_without_the_tensor_is_refused_both_ways():
    tree, _ = gather(ROWS, _tensors(), "huggingface", "here")
    with pytest.raises(UserError, match="layer/bias has no name in tf1"):
        scatter(ROWS, tree, "tf1")
    with pytest.raises(UserError, match="here: layer/bias has no name in tf1"):
        gather(ROWS[2:], {}, "tf1", "here")


def test_absent_tensors_are_all_listed():
    tensors = _tensors()
    del tensors["a.weight"], tensors["layer.1.bias"]
    with pytest.raises(UserError, match=r"here: 2 missing tensors: a\.weight, layer\.1\.bias$"):
        gather(ROWS, tensors, "huggingface", "here")


def test_layers_of_different_shapes_are_no_stack():
    tensors = {**_tensors(), "layer.1.bias": np.zeros(5, np.float32)}
    with pytest.raises(UserError, match=r"layer\.0\.bias \[4\], layer\.1\.bias \[5\]"):
        gather(ROWS, tensors, "huggingface", "here")


def test_shapes_are_compared_leaf_by_leaf():
    tree = {"a": np.zeros((2, 3)), "b": np.zeros(1)}
    check_shapes(tree, {"a": (2, 3), "b": (1,)}, "here")
    with pytest.raises(UserError) as error:
        check_shapes(tree, {"a": (3, 2), "c": (1,)}, "here")
    assert str(error.value) == (
        "here: a is [2, 3], the network needs [3, 2]; c is missing; b is not part of the network"
    )


def test_other_precisions_and_nan_are_noted():
    notes = []
    half = np.array([1.5, np.inf], np.float16)
    found = as_float32({"x": {"y": half, "z": np.ones(2, np.float32)}}, notes)
    assert found["x"]["y"].dtype == np.float32 and found["x"]["y"][0] == 1.5
    assert notes == [
        "weights in float16 are widened (or rounded) to float32",
        "NaN or infinite numbers in x/y",
    ]
