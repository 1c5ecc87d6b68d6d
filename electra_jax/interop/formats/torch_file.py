"""PyTorch's `.bin` files read as data: a pickle that names anything beyond a short list of inert
classes is refused.

Two formats exist. Since PyTorch 1.6 a file is a zip archive (`…/data.pkl` and one member for each
storage); before, it was a sequence of pickles followed by the storages. Both are read; PyTorch is
not imported, and no function named in a file is ever called.
"""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from electra_jax.errors import UserError
from electra_jax.interop.mapping.tensors import Tensors

REMEDY = (
    "load it in PyTorch where it comes from and save it as safetensors "
    "(model.save_pretrained(folder, safe_serialization=True))"
)
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES: dict[str, Any] = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


class _Storage:
    """A block of numbers in the file; filled after the pickle is read (old format) or while it is
    read (new).
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.data = np.empty(0, self.dtype)


class _View:
    """A tensor as the pickle describes it: a strided view of a storage."""

    def __init__(self, storage: _Storage, offset: int, size: Any, stride: Any) -> None:
        self.storage, self.offset = storage, offset
        self.size, self.stride = tuple(size), tuple(stride)

    def array(self) -> np.ndarray:
        data, item = self.storage.data, self.storage.dtype.itemsize
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        if 0 not in self.size and (self.offset < 0 or min(self.stride, default=0) < 0):
            raise ValueError("a tensor with negative strides")
        if 0 not in self.size and last >= len(data):
            raise ValueError(f"a tensor of {self.size} reaches past its storage of {len(data)}")
        view = np.lib.stride_tricks.as_strided(
            data[self.offset :], self.size, [s * item for s in self.stride]
        )
        return np.array(view)


def _tensor(storage: _Storage, offset: int, size: Any, stride: Any, *_rest: Any) -> _View:
    return _View(storage, offset, size, stride)


def _parameter(view: _View, *_rest: Any) -> _View:
    return view


# All names that a weight file can contain; no other name is looked up.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}


class _DataOnly(pickle.Unpickler):
    """An unpickler for the names in `_ALLOWED` alone."""

    def __init__(self, file: BinaryIO, storage: Callable[[tuple[Any, ...]], _Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is code, not data")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"it refers to {pid!r}, which is no storage")
        return self._storage(pid)


def read_torch(path: str | os.PathLike[str]) -> Tensors:
    """Every tensor of a PyTorch weight file (a state dict) as {name: array}.

    Raises `UserError` for a torn file, and for one that holds anything but tensors.
    """
    try:
        if zipfile.is_zipfile(path):
            content = _read_zip(Path(path))
        else:
            content = _read_legacy(Path(path))
        if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
            content = content["state_dict"]
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, not a state dict")
        strange = [n for n, v in content.items() if not isinstance(v, _View)]
        if strange:
            raise ValueError(f"{strange[0]} is a {type(content[strange[0]]).__name__}, no tensor")
        return {str(name): view.array() for name, view in content.items()}
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        EOFError,
        struct.error,
    ) as error:
        raise UserError(f"{path}: cannot be read as plain weights ({error}): {REMEDY}") from None


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        pickles = [n for n in archive.namelist() if n.endswith("/data.pkl") or n == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} members named data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if (
            root + "byteorder" in archive.namelist()
            and archive.read(root + "byteorder") != b"little"
        ):
            raise ValueError("it is big-endian")
        known: dict[str, _Storage] = {}

        def storage(pid: tuple[Any, ...]) -> _Storage:
            key = str(pid[2])
            if key not in known:
                known[key] = _Storage(pid[1])
                data = archive.read(f"{root}data/{key}")
                known[key].data = np.frombuffer(data, known[key].dtype)
            return known[key]

        with archive.open(pickles[0]) as file:
            return _DataOnly(file, storage).load()  # type: ignore[arg-type]


def _read_legacy(path: Path) -> Any:
    with path.open("rb") as file:
        known: dict[str, _Storage] = {}

        def storage(pid: tuple[Any, ...]) -> _Storage:
            if len(pid) > 5 and pid[5] is not None:
                raise pickle.UnpicklingError(
                    "it uses views of storages, a format before PyTorch 0.4"
                )
            return known.setdefault(str(pid[2]), _Storage(pid[1]))

        def load() -> Any:
            return _DataOnly(file, storage).load()

        if load() != _LEGACY_MAGIC:
            raise ValueError("it is no file of PyTorch")
        _protocol, system = load(), load()
        if not system.get("little_endian", True):
            raise ValueError("it is big-endian")
        content = load()
        for key in load():
            count = struct.unpack("<q", file.read(8))[0]
            held = known[str(key)]
            data = file.read(count * held.dtype.itemsize)
            if len(data) != count * held.dtype.itemsize:
                raise EOFError("it ends early")
            held.data = np.frombuffer(data, held.dtype)
        return content
