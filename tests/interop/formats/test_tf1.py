"""TF1 checkpoints on disk: found, written and read back, torn ones refused."""

import sys

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.interop.formats.tf1 import find_bundle, is_bundle, read_bundle, write_bundle


def _empty(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize("named", ["model.ckpt-4", "model.ckpt-4.index", "model.ckpt-4.meta", ""])
def test_a_bundle_is_found_by_prefix_by_any_of_its_files_and_by_its_folder(tmp_path, named):
    _empty(tmp_path, "model.ckpt-4.index", "model.ckpt-4.data-00000-of-00001")
    assert find_bundle(tmp_path / named) == str(tmp_path / "model.ckpt-4")


def test_of_several_bundles_the_checkpoint_file_decides(tmp_path):
    _empty(tmp_path, "model.ckpt-4.index", "model.ckpt-8.index")
    with pytest.raises(UserError, match=r"several checkpoints \(model\.ckpt-4, model\.ckpt-8\)"):
        find_bundle(tmp_path)
    state = 'model_checkpoint_path: "/of/another/machine/model.ckpt-4"\n'
    (tmp_path / "checkpoint").write_text(state)
    assert find_bundle(tmp_path) == str(tmp_path / "model.ckpt-4")


def test_what_is_no_bundle(tmp_path):
    assert not is_bundle(tmp_path) and not is_bundle(tmp_path / "model.ckpt")
    with pytest.raises(UserError, match=r"model\.ckpt\.index does not exist"):
        find_bundle(tmp_path / "model.ckpt")


TENSORS = {
    "b/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a/bias": np.array([-0.0, np.inf], np.float32),
    "global_step": np.asarray(7, np.int64),
}


def test_a_written_bundle_is_read_back_bit_for_bit_and_is_the_folder_s(tmp_path):
    write_bundle(tmp_path / "old" / "model.ckpt-7", TENSORS)
    found = read_bundle(tmp_path / "old")
    assert list(found) == sorted(TENSORS)
    assert all(
        (found[n].dtype, found[n].shape, found[n].tobytes()) == (v.dtype, v.shape, v.tobytes())
        for n, v in TENSORS.items()
    )
    assert not [f for f in (tmp_path / "old").iterdir() if f.name.startswith(".")]


def test_a_torn_bundle_is_refused(tmp_path):
    write_bundle(tmp_path / "model.ckpt", {**TENSORS, "big": np.ones((64, 64), np.float32)})
    (data,) = tmp_path.glob("*.data-*")
    data.write_bytes(data.read_bytes()[:5000])
    with pytest.raises(UserError, match="torn or missing"):
        read_bundle(tmp_path)
    (tmp_path / "model.ckpt.index").write_bytes(b"")
    with pytest.raises(UserError, match="torn or missing"):
        read_bundle(tmp_path)


def test_without_tensorflow_one_line_says_what_to_install(tmp_path, monkeypatch):
    _empty(tmp_path, "model.ckpt.index")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match="pip install tensorflow-cpu"):
        read_bundle(tmp_path)
