"""TF1 checkpoints ("bundles": .index and .data files), read and written by TensorFlow."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.interop.mapping.tensors import Tensors


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow
    except ImportError:
        raise UserError(
            "TF1 checkpoints are read and written by TensorFlow, which is not installed: pip "
            "install tensorflow-cpu"
        ) from None
    return tensorflow


def is_bundle(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a bundle's prefix (one of its files) or a folder that holds one."""
    try:
        find_bundle(path)
    except UserError:
        return False
    return True


def find_bundle(path: str | os.PathLike[str]) -> str:
    """The prefix (`…/model.ckpt-4`) of a bundle given by prefix, by one of its files, or by its
    folder.

    In a folder, the `checkpoint` file decides where there is one, else the only `.index` file.
    Raises `UserError` where there is none, or several without a `checkpoint` file.
    """
    given = Path(path)
    if given.is_dir():
        indices = sorted(given.glob("*.index"))
        state = given / "checkpoint"
        if state.is_file():
            found = re.search(r'^model_checkpoint_path:\s*"(.*)"', state.read_text("utf-8"), re.M)
            # The path inside can be another machine's: only the file's name is used.
            if found and (given / (Path(found[1]).name + ".index")).is_file():
                return str(given / Path(found[1]).name)
        if not indices:
            raise UserError(f"{path}: no TF1 checkpoint (no .index file) in this folder")
        if len(indices) > 1:
            names = ", ".join(i.name.removesuffix(".index") for i in indices)
            raise UserError(f"{path}: several checkpoints ({names}): name one of them")
        return str(indices[0])[: -len(".index")]
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", str(given))
    if not Path(prefix + ".index").is_file():
        raise UserError(f"{path}: no TF1 checkpoint there ({prefix}.index does not exist)")
    return prefix


def read_bundle(path: str | os.PathLike[str]) -> Tensors:
    """Every tensor of a TF1 checkpoint as {name: array}.

    Needs TensorFlow; raises `UserError` where it is missing or the checkpoint is torn.
    """
    prefix = find_bundle(path)
    tf = _tensorflow()
    try:
        reader = tf.train.load_checkpoint(prefix)
        return {
            name: np.asarray(reader.get_tensor(name))
            for name in sorted(reader.get_variable_to_shape_map())
        }
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{prefix}: this checkpoint cannot be read, its .index or .data file is torn or "
            f"missing ({reason}): fetch it again"
        ) from None


def write_bundle(prefix: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Writes `{name: array}` as a TF1 checkpoint `prefix` (.index, .data) with its `checkpoint`
    file beside.

    The files are written under a temporary name in the same folder and moved there when whole,
    `checkpoint` last.
    """
    tf = _tensorflow()
    target = Path(prefix)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".bundle-", dir=target.parent))
    try:
        names = sorted(tensors)
        values = [np.asarray(tensors[name]) for name in names]
        tf.raw_ops.SaveV2(
            prefix=str(scratch / target.name),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(value) for value in values],
        )
        state = scratch / "checkpoint"
        state.write_text(
            f'model_checkpoint_path: "{target.name}"\n'
            f'all_model_checkpoint_paths: "{target.name}"\n',
            encoding="utf-8",
        )
        for file in sorted(scratch.iterdir(), key=lambda f: f.name == "checkpoint"):
            os.replace(file, target.parent / file.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
