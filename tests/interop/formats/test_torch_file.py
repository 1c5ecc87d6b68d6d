"""PyTorch files read as data: equal to torch's reading, and torn or hostile ones refused."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.interop.formats.safetensors import read_weights
from electra_jax.interop.formats.torch_file import read_torch


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
