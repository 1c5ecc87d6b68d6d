"""Tensors by name ⇄ trees of parameters, by the rows of the table of names (`names.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.interop.mapping.names import Row
from electra_jax.modeling.trees import Tree, flatten, unflatten

Tensors = dict[str, np.ndarray]


def gather(
    rows: Sequence[Row], tensors: Mapping[str, np.ndarray], dialect: str, where: str
) -> tuple[Tree, set[str]]:
    """The tree of the tensors that `rows` name in a `dialect` ("huggingface" or "tf1"), and the set
    of names used.

    Every leaf is filled: absent names, or layers of different shapes, are a `UserError` that lists
    them.
    """
    flat: dict[str, np.ndarray] = {}
    missing: list[str] = []
    used: set[str] = set()
    for row in rows:
        names = row.names(dialect)
        if not names:
            raise UserError(f"{where}: {row.tree} has no name in {dialect}")
        absent = [name for name in names if name not in tensors]
        if absent:
            missing.extend(absent)
            continue
        used.update(names)
        found = [np.asarray(tensors[name]) for name in names]
        if dialect == "huggingface" and row.transpose:
            found = [np.swapaxes(a, -1, -2) if a.ndim == 2 else a for a in found]
        if row.layers is None:
            flat[row.tree] = np.ascontiguousarray(found[0])
            continue
        if len({a.shape for a in found}) > 1:
            shapes = ", ".join(f"{n} {list(tensors[n].shape)}" for n in names)
            raise UserError(f"{where}: layers of different shapes cannot be one encoder: {shapes}")
        flat[row.tree] = np.stack(found)
    if missing:
        raise UserError(f"{where}: {_listed('missing tensor', missing)}")
    return unflatten(flat), used


def scatter(rows: Sequence[Row], tree: Mapping[str, Any], dialect: str) -> Tensors:
    """The tensors of `tree` under their names in `dialect`, contiguous; a leaf outside the table is
    a `UserError`.
    """
    flat = flatten(tree)
    known = {row.tree for row in rows}
    if set(flat) != known:
        raise UserError(
            "these parameters do not make the network that the configuration describes: "
            + _listed("unexpected parameter", sorted(set(flat) - known))
            + "; "
            + _listed("missing parameter", sorted(known - set(flat)))
        )
    tensors: Tensors = {}
    for row in rows:
        names = row.names(dialect)
        if not names:
            raise UserError(
                f"{row.tree} has no name in {dialect}: this network cannot be written there"
            )
        value = np.asarray(flat[row.tree])
        for name, part in zip(names, [value] if row.layers is None else list(value), strict=True):
            if dialect == "huggingface" and row.transpose:
                part = np.swapaxes(part, -1, -2)
            tensors[name] = np.ascontiguousarray(part)
    return tensors


def _listed(what: str, names: Sequence[str], limit: int = 12) -> str:
    """`3 missing tensors: a, b, c` (shortened past `limit`)."""
    shown = ", ".join(names[:limit]) + (
        f", … ({len(names) - limit} more)" if len(names) > limit else ""
    )
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'}" + (f": {shown}" if names else "")


def check_shapes(
    tree: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Raises `UserError` where the leaves are not exactly `expected` ({path: shape}), with the
    differences.
    """
    flat = {path: tuple(np.shape(value)) for path, value in flatten(tree).items()}
    wrong = [
        f"{path} is {list(flat[path])}, the network needs {list(shape)}"
        for path, shape in expected.items()
        if path in flat and flat[path] != tuple(shape)
    ]
    wrong += [f"{path} is missing" for path in expected if path not in flat]
    wrong += [f"{path} is not part of the network" for path in flat if path not in expected]
    if wrong:
        raise UserError(f"{where}: " + "; ".join(wrong[:12]))


def as_float32(tree: Mapping[str, Any], notes: list[str]) -> Tree:
    """The leaves in float32; another precision, NaN and infinity add a line to `notes`."""
    flat = flatten(tree)
    kinds = sorted({str(v.dtype) for v in flat.values()} - {"float32"})
    if kinds:
        notes.append(f"weights in {', '.join(kinds)} are widened (or rounded) to float32")
    flat = {name: np.asarray(value, np.float32) for name, value in flat.items()}
    note_non_finite(flat, notes)
    return unflatten(flat)


def note_non_finite(flat: Mapping[str, np.ndarray], notes: list[str]) -> None:
    """Adds a line to `notes` that names the parameters with NaN or infinity."""
    bad = [name for name, value in flat.items() if not np.isfinite(value).all()]
    if bad:
        notes.append(f"NaN or infinite numbers in {', '.join(bad)}")
