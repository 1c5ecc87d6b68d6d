"""Weight files: shards, PyTorch files read as data, and the ways to be torn or hostile."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.interop.formats.safetensors import (
    read_safetensors,
    read_weights,
    write_safetensors,
)
from electra_jax.interop.formats.torch_file import read_torch

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


def _torch_state():
    torch = pytest.importorskip("torch")
    base = torch.arange(20.0)
    return torch, {
        "transposed": torch.arange(12.0).reshape(3, 4).t(),
        "parameter": torch.nn.Parameter(torch.randn(5)),
        "half": torch.randn(2, 3).half(),
        "bfloat": torch.randn(4).bfloat16(),
        "ids": torch.arange(6)[None],
        "scalar": torch.tensor(3.0),
        "view": base[2:12:2],
        "shared": base,
        "empty": torch.zeros(0, 3),
    }


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "before_1.6"])
def test_a_pytorch_file_is_read_as_torch_reads_it(tmp_path, archive):
    torch, state = _torch_state()
    file = tmp_path / "pytorch_model.bin"
    torch.save(state, file, _use_new_zipfile_serialization=archive)
    found = read_weights(tmp_path)
    assert found.keys() == state.keys()
    for name, value in state.items():
        expected = value.detach().double().numpy()
        assert found[name].shape == expected.shape
        assert np.array_equal(found[name].astype(np.float64), expected), name


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "before_1.6"])
def test_a_truncated_pytorch_file_is_refused_with_the_remedy(tmp_path, archive):
    torch, state = _torch_state()
    file = tmp_path / "pytorch_model.bin"
    torch.save(state, file, _use_new_zipfile_serialization=archive)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UserError, match="save_pretrained"):
        read_weights(tmp_path)


class _Hostile:
    """Pickles as a call of a function."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _hostile_zip(file, content):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))


def test_a_pickle_that_calls_a_function_is_refused_and_the_function_not_called(tmp_path):
    file, trap = tmp_path / "pytorch_model.bin", tmp_path / "trap"
    _hostile_zip(file, {"a": _Hostile(trap)})
    with pytest.raises(UserError, match="mkdir, which is code, not data"):
        read_torch(file)
    file.write_bytes(pickle.dumps({"a": _Hostile(trap)}, protocol=2))
    with pytest.raises(UserError, match="which is code, not data"):
        read_torch(file)
    assert not trap.exists()


def test_a_pickle_that_holds_no_tensors_is_refused(tmp_path):
    _hostile_zip(tmp_path / "x.bin", {"epoch": 3})
    with pytest.raises(UserError, match="epoch is a int, no tensor"):
        read_torch(tmp_path / "x.bin")


def test_written_safetensors_carry_the_mark_that_transformers_needs(tmp_path):
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {**TENSORS, "t": TENSORS["a.weight"].T})
    assert _same(read_safetensors(file), {**TENSORS, "t": TENSORS["a.weight"].T})
    assert b'"__metadata__":{"format":"pt"}' in file.read_bytes()[:200]
