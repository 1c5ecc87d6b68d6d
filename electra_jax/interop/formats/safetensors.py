"""The weight files of a Hugging Face folder as {name: array}, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from electra_jax.errors import UserError
from electra_jax.interop.formats.torch_file import read_torch
from electra_jax.interop.mapping.tensors import Tensors

SAFETENSORS, TORCH = "model.safetensors", "pytorch_model.bin"


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weight files that `read_weights` reads."""
    names = (SAFETENSORS, TORCH)
    return any((folder / n).is_file() or (folder / f"{n}.index.json").is_file() for n in names)


def read_weights(folder: str | os.PathLike[str]) -> Tensors:
    """Every tensor of a folder: of `model.safetensors`, else of the shards its index names, else of
    `pytorch_model.bin` (read as data, no pickle is executed), else of its shards.

    Raises `UserError` for a file that is absent or torn, and for a missing shard.
    """
    folder = Path(folder)
    for name in (SAFETENSORS, TORCH):
        if (folder / name).is_file():
            return read_file(folder / name)
        if (folder / f"{name}.index.json").is_file():
            return _read_shards(folder / f"{name}.index.json")
    others = [n for n in ("tf_model.h5", "flax_model.msgpack") if (folder / n).is_file()]
    seen = f" ({', '.join(others)} is not read)" if others else ""
    raise UserError(f"{folder}: no {SAFETENSORS} or {TORCH} in this folder{seen}")


def read_file(file: Path) -> Tensors:
    """Every tensor of one file, by its suffix."""
    if file.suffix == ".safetensors":
        return read_safetensors(file)
    if file.suffix in (".bin", ".pt", ".pth"):
        return read_torch(file)
    raise UserError(f"{file}: not a weight file (.safetensors, .bin) or a TF1 checkpoint")


def _read_shards(index: Path) -> Tensors:
    """The tensors of all shards named in an index file, each checked to be where the index says."""
    try:
        where = json.loads(index.read_text("utf-8"))["weight_map"]
        shards = sorted({str(shard) for shard in where.values()})
    except (ValueError, KeyError, AttributeError, UnicodeDecodeError):
        raise UserError(f"{index}: not an index of shards (no weight_map)") from None
    lacking = [s for s in shards if Path(s).name != s or not (index.parent / s).is_file()]
    if lacking:
        raise UserError(
            f"{index.parent}: missing shard{'s' if len(lacking) > 1 else ''} {', '.join(lacking)} "
            f"named in {index.name}: fetch the whole model again"
        )
    tensors: Tensors = {}
    for shard in shards:
        tensors |= read_file(index.parent / shard)
    absent = sorted(set(where) - set(tensors))
    if absent:
        raise UserError(f"{index}: the shards lack {', '.join(absent[:12])}")
    return tensors


def read_safetensors(file: str | os.PathLike[str]) -> Tensors:
    """Every tensor of one safetensors file."""
    try:
        with safe_open(file, framework="numpy") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{file}: torn or not a safetensors file ({error}): fetch it again"
        ) from None


def write_safetensors(file: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Writes one safetensors file; `transformers` requires the format mark."""
    save_file(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()},
        file,
        metadata={"format": "pt"},
    )
