"""Weight files: shards, PyTorch files read as data, and the ways to be torn or hostile."""

import json

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.interop.formats.safetensors import (
    read_safetensors,
    read_weights,
    write_safetensors,
)

TENSORS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b.bias": np.arange(5, dtype=np.float32),
    "c.weight": np.ones((2, 2), np.float32),
}


def _same(found, expected):
    return found.keys() == expected.keys() and all(
        found[n].tobytes() == np.ascontiguousarray(expected[n]).tobytes() for n in expected
    )


def _sharded(folder, write):
    """The tensors in two files of which an index tells."""
    names = sorted(TENSORS)
    parts = {"part-1": names[:2], "part-2": names[2:]}
    suffix = write(folder, parts)
    where = {name: part + suffix for part, held in parts.items() for name in held}
    index = {"metadata": {}, "weight_map": where}
    stem = "model" if suffix == ".safetensors" else "pytorch_model"
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps(index))


def _safetensors_parts(folder, parts):
    for part, held in parts.items():
        write_safetensors(folder / f"{part}.safetensors", {n: TENSORS[n] for n in held})
    return ".safetensors"


def test_shards_are_read_as_one(tmp_path):
    _sharded(tmp_path, _safetensors_parts)
    assert _same(read_weights(tmp_path), TENSORS)


def test_a_missing_shard_is_named(tmp_path):
    _sharded(tmp_path, _safetensors_parts)
    (tmp_path / "part-2.safetensors").unlink()
    with pytest.raises(UserError, match=r"missing shard part-2\.safetensors"):
        read_weights(tmp_path)


def test_a_shard_without_its_tensor_is_refused(tmp_path):
    _sharded(tmp_path, _safetensors_parts)
    write_safetensors(tmp_path / "part-2.safetensors", {"other": np.zeros(1, np.float32)})
    with pytest.raises(UserError, match=r"the shards lack c\.weight"):
        read_weights(tmp_path)


def test_an_index_may_not_point_outside_the_folder(tmp_path):
    write_safetensors(tmp_path / "outside.safetensors", TENSORS)
    folder = tmp_path / "model"
    folder.mkdir()
    where = dict.fromkeys(TENSORS, "../outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    with pytest.raises(UserError, match="missing shard"):
        read_weights(folder)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.999])
def test_a_truncated_safetensors_file_is_refused(tmp_path, keep):
    file = tmp_path / "model.safetensors"
    write_safetensors(file, TENSORS)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UserError, match="torn or not a safetensors file"):
        read_weights(tmp_path)


def test_a_folder_without_weights_says_what_it_looked_for(tmp_path):
    (tmp_path / "tf_model.h5").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"no model\.safetensors or pytorch_model\.bin.*tf_model\.h5"
    ):
        read_weights(tmp_path)


def test_written_safetensors_carry_the_mark_that_transformers_needs(tmp_path):
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {**TENSORS, "t": TENSORS["a.weight"].T})
    assert _same(read_safetensors(file), {**TENSORS, "t": TENSORS["a.weight"].T})
    assert b'"__metadata__":{"format":"pt"}' in file.read_bytes()[:200]
