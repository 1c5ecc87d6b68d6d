"""Several processes, one run: how they find each other, and work that one does for all.

A process is one of `jax.distributed`: usually one a host (TPU) or one a GPU (Slurm). The first of
them writes whatever is not a checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from electra_jax.errors import UserError
from electra_jax.training.stopping import INTERRUPTED

T = TypeVar("T")
Tree = Any


@contextlib.contextmanager
def joined(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> Iterator[None]:
    """Inside, this process has joined the others of the run; it is alone where neither arguments
    nor the environment name others.

    coordinator: HOST:PORT of the first process, where the three are given by hand (Kubernetes, a
        cluster without a scheduler). Under Slurm's srun and on Cloud TPU they are found.
    num_processes: of the run; 1 keeps a process alone wherever it runs.
    process_id: this one's number, from 0.

    An error is printed to standard error and ends this process at once: the others, which wait for
    it, then end too. Enter it before the first use of JAX's devices. Raises UserError where the
    others cannot be found.
    """
    _join(coordinator, num_processes, process_id)
    if not jax.distributed.is_initialized() or jax.process_count() == 1:
        yield
        return
    try:
        yield
    except SystemExit:
        raise
    except BaseException as error:
        code = _report(error)
        sys.stdout.flush()
        sys.stderr.flush()
        # The interpreter's own way out would wait for the others, who wait for us.
        os._exit(code)


def _join(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    given = (coordinator, num_processes, process_id)
    if num_processes == 1:
        return
    if any(value is not None for value in given):
        if any(value is None for value in given):
            raise UserError(
                "--coordinator=HOST:PORT, --num_processes=N and --process_id=I belong together: "
                "give all three"
            )
        _initialize(coordinator_address=coordinator, num_processes=num_processes,
                    process_id=process_id, cluster_detection_method="deactivate")  # fmt: skip
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        _initialize(cluster_detection_method="slurm")
    elif _on_cloud_tpu():
        _initialize()


def _initialize(**arguments: Any) -> None:
    try:
        jax.distributed.initialize(**arguments)
    except Exception as error:  # of the network, of the metadata service, of wrong numbers
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot join the other processes of this run: {reason}; start all of them, give each "
            "--coordinator=HOST:PORT --num_processes=N --process_id=I by hand, or run this one "
            "alone with --num_processes=1"
        ) from error


def _on_cloud_tpu() -> bool:
    """Whether this is a Cloud TPU host that may be one of several: by the environment, or because
    the chips' device files exist (JAX then reads the machine's metadata)."""
    if os.environ.get("JAX_PLATFORMS", "tpu").split(",")[0] != "tpu":
        return False
    hosts = os.environ.get("TPU_PROCESS_ADDRESSES") or os.environ.get("TPU_WORKER_HOSTNAMES")
    if hosts:
        return "," in hosts
    chips = os.path.exists("/dev/accel0") or os.path.exists("/dev/vfio/0")
    return chips and not os.path.exists("/dev/nvidiactl")


def _report(error: BaseException) -> int:
    """Prints the error that ends this process; returns the exit code."""
    who = f"electra-jax (process {jax.process_index()} of {jax.process_count()})"
    if isinstance(error, UserError):
        print(f"{who}: {error}", file=sys.stderr)
        return 2
    if isinstance(error, KeyboardInterrupt):
        print(f"{who}: {error or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED
    sys.excepthook(type(error), error, error.__traceback__)
    print(
        f"{who}: ended by the error above. Where it speaks of a connection, a collective or a "
        "timeout, another process ended first (see its messages; a timeout may also be slow "
        "storage). The checkpoints are kept: start all of them again with the same command",
        file=sys.stderr,
    )
    return 1


def is_first() -> bool:
    """Whether this is the process that writes logs, reports and models."""
    return jax.process_index() == 0


def on_first(work: Callable[[], T]) -> T:
    """Calls `work` in the first process alone and returns its result, a JSON value, in every
    process, or raises its UserError there. Collective: call it in every process."""
    if jax.process_count() == 1:
        return work()
    answer: dict[str, Any] = {}
    if is_first():
        try:
            answer = {"result": work()}
        except UserError as error:
            answer = {"error": str(error)}
    text = json.dumps(answer).encode()
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    buffer = np.zeros(size, np.uint8)
    if is_first():
        buffer[:] = np.frombuffer(text, np.uint8)
    answer = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(buffer)).tobytes())
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["result"]


def all_agree(value: bool) -> bool:
    """Whether `value` is true in every process. Collective: call it in every process."""
    if jax.process_count() == 1:
        return value
    return bool(np.all(multihost_utils.process_allgather(np.bool_(value))))


def on_host(tree: Tree) -> Tree:
    """Every leaf as a whole NumPy array, also where other processes hold parts of it. Collective:
    call it in every process."""

    def fetch(leaf: Any) -> np.ndarray:
        whole = not isinstance(leaf, jax.Array) or leaf.is_fully_addressable
        return np.asarray(leaf if whole else multihost_utils.process_allgather(leaf, tiled=True))

    return jax.tree.map(fetch, tree)
