"""Committed tables of recorded numbers: `NAME.tar.xz` beside this file, read without the oracles.

A table holds part of one folder of the oracles in the oracles' own layout, so that a test reads
either. An .npz file is a folder of .npy files in it, which lets equal numbers share their place.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
# float32 numbers: what follows a byte depends on its place among four.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 2, "lp": 2, "pb": 2}]
Files = dict[str, bytes]  # path within the folder of the oracles → content


class Committed(type(Path())):  # type: ignore[misc]
    """A path within the unpacked tables; a test that asks for what they leave out is skipped."""

    def __truediv__(self, key):
        path = super().__truediv__(key)
        if not path.exists() and "*" not in path.name:
            pytest.skip(f"not in the committed tables: {key}; set ELECTRA_JAX_ORACLES")
        return path


def write_table(path: Path, files: Files) -> None:
    """Writes a table; the same files give the same bytes."""
    with (
        lzma.LZMAFile(path, "wb", filters=FILTERS) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def read_table(path: Path) -> Files:
    """The files of a table, in their order."""
    with tarfile.open(path, "r:xz") as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}


def unpack(destination: Path) -> Committed:
    """Writes all tables into a folder in the layout of the oracles."""
    for table in sorted(FOLDER.glob("*.tar.xz")):
        for name, content in read_table(table).items():
            archive, is_array, array = name.partition(".npz/")
            path = destination / (archive + ".npz" if is_array else name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if is_array:
                with zipfile.ZipFile(path, "a") as file:
                    file.writestr(array, content)
            else:
                path.write_bytes(content)
    return Committed(destination)
