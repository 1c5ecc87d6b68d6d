"""One mesh (data, fsdp, tensor), one table of logical axes, and where each parameter's axes lie.

Shardings of a whole training state follow from names alone: optimizer moments carry their
parameter's name, so they are sharded with it.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from electra_jax.errors import UserError
from electra_jax.training.optimizer import names

Tree = Any
AnyMesh = Mesh | AbstractMesh
log = logging.getLogger(__name__)

AXES = ("data", "fsdp", "tensor")

# Logical axis → mesh axes.
LOGICAL_AXES: tuple[tuple[str, tuple[str, ...] | str | None], ...] = (
    ("batch", ("data", "fsdp")),
    ("length", None),
    ("width", None),
    ("embed", "fsdp"),
    ("vocab", "tensor"),
    ("heads", "tensor"),
    ("mlp", "tensor"),
)

# Parameter name → logical axes of its last dimensions (a leading layer axis is never sharded);
# first match wins.
PARAMETER_AXES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"(^|/)lora/", ()),  # small factors; a rank divides badly
    (r"word_embeddings", ("vocab", "embed")),
    (r"(position|token_type)_embeddings", (None, "embed")),
    (r"output_bias", ("vocab",)),
    (r"self/(query|key|value)/kernel|Wqkv/kernel", ("embed", "heads")),
    (r"self/(query|key|value)/bias", ("heads",)),
    (r"attention/output/dense/kernel|attention/Wo/kernel", ("heads", "embed")),
    (r"intermediate/dense/kernel|mlp/Wi/kernel", ("embed", "mlp")),
    (r"intermediate/dense/bias", ("mlp",)),
    (r"layer/output/dense/kernel|mlp/Wo/kernel", ("mlp", "embed")),
    (r"embeddings_project/kernel", (None, "embed")),
    (r"predictions/dense/kernel", (None, "embed")),
    (r"", ()),
)


def mesh_sizes(shape: Mapping[str, int], devices: int) -> tuple[int, ...]:
    """Sizes of (data, fsdp, tensor) over a number of devices; one of them may be −1, "the rest"."""
    sizes = [int(shape.get(axis, 1)) for axis in AXES]
    if sizes.count(-1) > 1 or any(s == 0 or s < -1 for s in sizes):
        raise UserError(f"mesh={dict(shape)}: sizes are positive, at most one is -1 (the rest)")
    fixed = math.prod(s for s in sizes if s > 0)
    if -1 in sizes:
        sizes[sizes.index(-1)] = max(1, devices // fixed)
    if math.prod(sizes) != devices:
        raise UserError(
            f"mesh={dict(zip(AXES, sizes, strict=True))} needs {math.prod(sizes)} devices, "
            f"{devices} are here: "
            "make the product equal, or set one axis to -1"
        )
    return tuple(sizes)


def make_mesh(shape: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of `shape` = {data, fsdp, tensor} over all devices, neighbours on a TPU slice beside
    each other."""
    devices = list(jax.devices() if devices is None else devices)
    sizes = mesh_sizes(shape, len(devices))
    if devices[0].platform == "tpu":
        array = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    else:
        array = np.array(devices).reshape(sizes)
    return Mesh(array, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def abstract_mesh(shape: Mapping[str, int], devices: int) -> AbstractMesh:
    """The mesh of a machine that is not here, to compute shardings without its devices."""
    sizes = mesh_sizes(shape, devices)
    return AbstractMesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def data_parallelism(mesh: AnyMesh) -> int:
    """The number of parts into which a batch is split."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def batch_sharding(mesh: AnyMesh) -> NamedSharding:
    """The first axis over data and fsdp."""
    return NamedSharding(mesh, P(("data", "fsdp")))


def local_batch_indices(mesh: Mesh, batch_size: int) -> np.ndarray:
    """Indices of the batch's rows that this process's devices hold: int64 [share], ascending."""
    indices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    held = np.zeros(batch_size, bool)
    for index in indices.values():
        held[index] = True
    return np.flatnonzero(held)


def replicated(mesh: AnyMesh) -> NamedSharding:
    """Every device holds the whole."""
    return NamedSharding(mesh, P())


def state_shardings(mesh: AnyMesh, state: Tree) -> Tree:
    """A NamedSharding for every leaf of a (possibly abstract) state, by its name; undivided
    dimensions are replicated."""
    rules = dict(LOGICAL_AXES)
    undivided: set[str] = set()

    def place(name: str, leaf: Any) -> NamedSharding:
        logical = next(axes for pattern, axes in PARAMETER_AXES if re.search(pattern, name))
        if len(leaf.shape) < len(logical):
            return replicated(mesh)
        spec: list[Any] = [None] * (len(leaf.shape) - len(logical))
        for axis, size in zip(logical, leaf.shape[len(spec) :], strict=True):
            target = rules[axis] if axis else None
            if target is not None and size % mesh.shape[target]:
                undivided.add(
                    f"{name.split('/')[-2] if '/' in name else name}: {size} over {target}"
                )
                target = None
            spec.append(target)
        return NamedSharding(mesh, P(*spec))

    shardings = jax.tree.map(place, names(state), state)
    if undivided:
        log.warning(
            "replicated, since the axis does not divide them: %s", "; ".join(sorted(undivided))
        )
    return shardings
