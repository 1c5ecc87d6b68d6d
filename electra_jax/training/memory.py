"""The memory of a run on each device: exact, by XLA's account, or estimated (and labelled so).

Parameters and optimizer state follow from shapes and shardings. What a step needs besides
(gradients, activations kept for the backward pass, logits) XLA knows once it has compiled the
program; before that, the traced program is gone through in order, counting what is alive.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from electra_jax.errors import UserError
from electra_jax.training.host_memory import free_memory, process_memory
from electra_jax.training.sharding import AnyMesh, data_parallelism
from electra_jax.training.step import TrainState

Tree = Any

# XLA computes these where their result is used and never stores it.
_NEVER_STORED = frozenset(
    ("broadcast_in_dim", "iota", "reshape", "squeeze", "expand_dims", "copy", "stop_gradient")
)
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr", "body_jaxpr", "cond_jaxpr")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device. `step` is what a training step takes beside the state, `source` where
    the figure is from."""

    parameters: int
    optimizer: int
    step: int
    source: str

    @property
    def total(self) -> int:
        """All of it together."""
        return self.state + self.step

    @property
    def state(self) -> int:
        """What is there between steps."""
        return self.parameters + self.optimizer

    def __str__(self) -> str:
        return (
            f"memory of one device: parameters {human_bytes(self.parameters)}, optimizer "
            f"{human_bytes(self.optimizer)}, gradients and activations {human_bytes(self.step)} "
            f"({self.source}); together {human_bytes(self.total)}"
        )


def state_bytes(state: TrainState, shardings: TrainState) -> tuple[int, int]:
    """(parameters, trained and held; the optimizer's state): bytes on one device, exactly."""
    frozen = _bytes(state.frozen, shardings.frozen)
    parameters = _bytes(state.params, shardings.params) + frozen
    return parameters, _bytes(state, shardings) - parameters


def _bytes(tree: Tree, shardings: Tree) -> int:
    sizes = jax.tree.map(
        lambda x, s: math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize, tree, shardings
    )
    return sum(jax.tree.leaves(sizes))


def estimated(
    traced: jax.stages.Traced,
    state: TrainState,
    shardings: TrainState,
    mesh: AnyMesh,
    rows: int,
) -> Memory:
    """From a traced step whose parts have `rows` rows, before it is compiled. What depends on the
    batch is divided among data and fsdp, gradients like their parameters; fusion, and what the
    tensor axis divides of the activations, is not foreseen."""
    divided: dict[tuple[int, ...], int] = {}
    for leaf, sharding in zip(jax.tree.leaves(state.params), jax.tree.leaves(shardings.params)):
        parts = leaf.size // max(math.prod(sharding.shard_shape(leaf.shape)), 1)
        divided[leaf.shape] = min(parts, divided.get(leaf.shape, parts))
    walk = _Walk(divided, data_parallelism(mesh), rows)
    closed = traced.jaxpr
    leaves = len(jax.tree.leaves(state))
    from_batch = [number >= leaves for number in range(len(closed.jaxpr.invars))]
    peak, _ = walk.peak(closed.jaxpr, from_batch, updated_in_place=True)
    return Memory(*state_bytes(state, shardings), peak, "an estimate")


def compiled(
    program: jax.stages.Compiled, state: TrainState, shardings: TrainState
) -> Memory | None:
    """From a compiled step; None where the backend keeps no account."""
    account = program.memory_analysis()
    if account is None:
        return None
    # The new state is written over the old one; what does not fit there is extra.
    extra = account.output_size_in_bytes - account.alias_size_in_bytes
    step = account.temp_size_in_bytes + max(extra, 0)
    return Memory(*state_bytes(state, shardings), step, "XLA's account of the compiled step")


# What a process comes to hold after its first step, measured (benchmarks/LOG.md).
_CHECKPOINTS = 100 << 20
_TENSORFLOW = 550 << 20
_FRAGMENTS = 256 << 20  # scratch of at most so many bytes may lie in the heap twice


def process_growth(need: Memory, imports_later: bool) -> int:
    """Bytes by which a process whose CPU computes grows from its first step to its peak: the step's
    scratch on each of its devices, what malloc cannot reuse of it, what writing checkpoints takes,
    and TensorFlow where it `imports_later`."""
    step = need.step * len(jax.local_devices())
    grown = step + min(step, _FRAGMENTS) + _CHECKPOINTS
    if imports_later and "tensorflow" not in sys.modules:
        grown += _TENSORFLOW
    return grown


def left(need: Memory, *, imports_later: bool = False) -> int | None:
    """Bytes of a device (on a CPU, its share of the host's) that stay free at the peak of a run
    whose state is not made yet; below 0 where it does not fit, None where nothing tells."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        free = free_memory()
        if free is None:
            return None
        return (free - process_growth(need, imports_later)) // len(devices) - need.state
    about = devices[0].memory_stats() or {}
    if "bytes_limit" not in about:
        return None
    return about["bytes_limit"] - about.get("bytes_in_use", 0) - need.total


def outlook(
    need: Memory, batch: int, accumulate: int, mesh: AnyMesh, imports_later: bool = False
) -> list[str]:
    """What a compiled step will take of the memory that there is, as lines to print before the
    first step; the second is a warning, where it does not fit.

    On a CPU the whole process is counted: what it has already, with parameters and optimizer in it,
    and `process_growth`; where a run imports TensorFlow if it takes long enough, with and without
    that. On an accelerator, `need` beside the device's own limit.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        here, free = process_memory(), free_memory()
        if here is None or free is None:
            return [str(need)]
        short, peak = (here + process_growth(need, later) for later in (False, imports_later))
        long = f", {human_bytes(peak)} once TensorFlow reads batches" if peak > short else ""
        lines = [
            f"{need}; this process: {human_bytes(here)} now, about {human_bytes(short)} at its "
            f"peak{long}; the host has {human_bytes(free)} free"
        ]
        lacking = peak - here > free
        room = free // len(jax.local_devices())
    else:
        limit = (device.memory_stats() or {}).get("bytes_limit")
        if limit is None:
            return [str(need)]
        lines = [f"{need}; the device has {human_bytes(limit)}"]
        lacking, room = need.total > limit, limit - need.state
    if lacking:
        rows = batch // data_parallelism(mesh)
        parts = fitting_parts(need.step, need.parameters, room, rows, accumulate)
        remedy = (
            f"train.accumulate={parts} should fit (the same numbers)"
            if parts
            else "no train.accumulate makes it fit: try model.remat=full, a smaller batch or model"
        )
        lines.append(f"warning: a step needs {human_bytes(need.step)} and there is less: {remedy}")
    return lines


def fitting_parts(step: int, gradients: int, room: int, rows: int, accumulate: int) -> int | None:
    """The smallest `train.accumulate` above `accumulate` that divides the `rows` of a device and
    leaves a step, of which all but `gradients` shrinks with it, within `room` bytes; None where
    there is none."""
    activations = max(step - gradients, 0) * accumulate
    for parts in range(accumulate + 1, rows + 1):
        # Accumulated gradients lie beside those of the part.
        if rows % parts == 0 and 2 * gradients + activations // parts <= room:
            return parts
    return None


def out_of_memory(error: BaseException) -> str:
    """The message for an out-of-memory error, with the remedies."""
    first = str(error).strip().splitlines()[0]
    return (
        f"a device has too little memory ({first[:200]}): double train.accumulate (the same "
        "numbers, half the activations), recompute with model.remat=dots or full, halve them with "
        "train.dtype=bfloat16, or split parameters and optimizer with mesh.fsdp=-1 mesh.data=1 "
        "(`--dry_run` shows the effect of each)"
    )


class _Walk:
    """Goes through a program in order and finds when most bytes are alive."""

    def __init__(self, divided: Mapping[tuple[int, ...], int], parts: int, rows: int) -> None:
        self._divided, self._parts, self._rows = divided, parts, rows

    def _size(self, var: Any, from_batch: bool) -> int:
        shape = getattr(var.aval, "shape", None)
        if shape is None or not hasattr(var.aval.dtype, "itemsize"):
            return 0
        size = math.prod(shape) * var.aval.dtype.itemsize
        # Dropout masks have the batch's rows too, and do not depend on its values.
        from_batch = from_batch or shape[:1] == (self._rows,)
        return size // self._divided.get(shape, self._parts if from_batch else 1)

    def peak(
        self, jaxpr: Jaxpr, from_batch: list[bool], updated_in_place: bool = False
    ) -> tuple[int, list[bool]]:
        """(most bytes alive beside the inputs, which outputs depend on the batch)."""
        batch = dict(zip(jaxpr.invars, from_batch)) | dict.fromkeys(jaxpr.constvars, False)
        last: dict[Any, int] = {}
        for number, eqn in enumerate(jaxpr.eqns):
            last.update((var, number) for var in eqn.invars if not isinstance(var, Literal))
        outputs = {var for var in jaxpr.outvars if not isinstance(var, Literal)}
        alive: dict[Any, int] = {}
        now = most = 0
        for number, eqn in enumerate(jaxpr.eqns):
            given = [not isinstance(v, Literal) and batch.get(v, False) for v in eqn.invars]
            made = any(given)
            inner, inner_batch = 0, None
            for name in _CALLS:
                called = eqn.params.get(name)
                if isinstance(called, ClosedJaxpr):
                    called = called.jaxpr
                if isinstance(called, Jaxpr) and len(called.invars) == len(eqn.invars):
                    inner, inner_batch = self.peak(called, given)
            loops = eqn.primitive.name in ("scan", "while")
            fresh = 0
            for index, var in enumerate(eqn.outvars):
                batch[var] = inner_batch[index] if inner_batch and not loops else made
                kept = eqn.primitive.name not in _NEVER_STORED
                if updated_in_place and var in outputs:
                    kept = False
                alive[var] = self._size(var, batch[var]) if kept else 0
                fresh += alive[var]
            # A call's results are among what was alive inside; a loop's are beside one turn of it.
            most = max(most, now + (fresh + inner if loops else max(fresh, inner)))
            now += fresh
            for var in {v for v in [*eqn.invars, *eqn.outvars] if not isinstance(v, Literal)}:
                if last.get(var, number) == number and var not in outputs:
                    now -= alive.pop(var, 0)
        return most, [not isinstance(v, Literal) and batch.get(v, False) for v in jaxpr.outvars]


def tpu_devices(topology: str) -> list[Any]:
    """Descriptions of the chips of a TPU slice such as "v4:2x2x4", to compile for without having
    it. Needs the package `libtpu`; raises UserError without, or where there is no such slice."""
    from jax.experimental import topologies

    version = topology.partition(":")[0]
    # Two cores of a chip are one device on these; a host has four chips of a plane.
    options: dict[str, Any] = {}
    if version in ("v4", "v5p"):
        options = {"chip_config_name": "megacore", "chips_per_host_bounds": (2, 2, 1)}
    try:
        return list(topologies.get_topology_desc(topology, "tpu", num_slices=1, **options).devices)
    except Exception as error:  # of the plug-in: it has no classes of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"--topology={topology}: {reason}; name a slice such as v4:2x2x4 or v5e:4x4, and "
            "install libtpu, or give --devices=N for an estimate"
        ) from error


def human_bytes(count: int) -> str:
    """Three digits and a unit: 1536 → `1.5 KiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1000 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.3g} {unit}"
