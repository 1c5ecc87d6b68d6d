"""Batches as a function of the position, read ahead by tf.data or by a thread.

Nothing here has a state worth saving: the batch that begins at example g is
`rows.take(example_ids(g, batch_size, rows.count, seed))`, whatever came before, however many
processes share it, and whichever of the two readers fetched it.
"""

import importlib.util
import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from electra_jax.data.order import rows_of
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError

Batch = dict[str, NDArray[np.int32]]
Backend = Literal["auto", "tf", "numpy"]

READ_AHEAD = 4
# Small batches are read several at a time: computing the order and waking a thread cost about the
# same for 256 rows as for 32.
ROWS_AT_ONCE = 256


def train_batches(
    rows: Rows,
    *,
    seed: int,
    batch_size: int,
    start_example: int = 0,
    places: NDArray[np.int64] | None = None,
    prefetch: int = READ_AHEAD,
    backend: Backend = "auto",
) -> "Batches":
    """Training batches from example `start_example` of the run on, without end.

    Args:
      rows: the training split.
      seed: of the run's order.
      batch_size: examples in one batch over all processes.
      start_example: examples that the run has already seen.
      places: int [share], the places in a batch whose examples are read here, where several
        processes share it; None for all of them.
      prefetch: batches read ahead.
      backend: "tf" reads ahead with tf.data, "numpy" (and "auto") with a thread. Both yield the
        same batches; only "tf" imports TensorFlow.

    Returns:
      An iterator of {"input_ids": int32 [share, seq_len]}; the k-th holds the examples
      start_example + k·batch_size + places.

    Raises:
      UserError: an empty batch, fewer rows than one batch, or an unknown or missing backend. While
        iterating: a damaged row file.
    """
    if batch_size < 1:
        raise UserError(f"train.batch_size={batch_size}: must be at least 1")
    if rows.count < batch_size:
        raise UserError(
            f"{rows.folder} has {rows.count} rows in its split {rows.split!r}, fewer than one "
            f"batch of {batch_size}; lower train.batch_size or prepare more text"
        )
    mine = start_example + (np.arange(batch_size) if places is None else places)
    share = len(mine)
    together = max(1, ROWS_AT_ONCE // share)

    def read(number: int) -> NDArray[np.int32]:
        batches = number * together + np.arange(together)
        ids = rows_of(batches[:, None] * batch_size + mine[None, :], rows.count, seed)
        return rows.take(ids.reshape(-1)).reshape(together, share, rows.seq_len)

    if _backend(backend) == "tf":
        return _tensorflow_batches(read, (together, share, rows.seq_len), prefetch)
    return _thread_batches(read, None, prefetch)


def eval_batches(
    rows: Rows,
    batch_size: int,
    max_rows: int | None = None,
    places: NDArray[np.int64] | None = None,
    prefetch: int = READ_AHEAD,
) -> "Batches":
    """The rows of a split once, in file order; the last batch is filled up with rows of padding.

    A row of padding has weight 0 in every loss and metric, so all batches have one shape and no row
    is left out or counted twice.

    Args:
      rows: the split.
      batch_size: rows in one batch over all processes.
      max_rows: stop after this many rows; None for all.
      places: as in `train_batches`.
      prefetch: batches read ahead.

    Returns:
      An iterator of ceil(rows / batch_size) times {"input_ids": int32 [share, seq_len]}.

    Raises:
      UserError: while iterating, a damaged file.
    """
    mine = np.arange(batch_size) if places is None else places
    count = rows.count if max_rows is None else min(rows.count, max_rows)

    def read(number: int) -> NDArray[np.int32]:
        wanted = number * batch_size + mine
        ids = np.full((len(mine), rows.seq_len), rows.special_ids["pad"], dtype=np.int32)
        ids[wanted < count] = rows.take(wanted[wanted < count])
        return ids[None]

    return _thread_batches(read, -(-count // batch_size), prefetch)


class Batches(Iterator[Batch]):
    """An iterator with something running behind it: `close` stops that, and so does dropping it."""

    def __init__(self, source: Callable[[], Batch], stop: Callable[[], object]) -> None:
        self._source = source
        # Also runs at the exit of the interpreter, before TensorFlow's threads could outlive it.
        self._finalizer = weakref.finalize(self, stop)

    def __next__(self) -> Batch:
        if not self._finalizer.alive:
            raise StopIteration
        try:
            return self._source()
        except (
            BaseException
        ):  # also StopIteration: whatever ends the iteration frees what is behind it
            self.close()
            raise

    def close(self) -> None:
        """Stops reading ahead; the iterator is at its end from now on."""
        self._finalizer()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _backend(name: str) -> str:
    if name not in ("auto", "tf", "numpy"):
        raise UserError(f"there is no data backend {name!r}; choose one of auto, tf, numpy")
    installed = importlib.util.find_spec("tensorflow") is not None
    if name == "tf" and not installed:
        raise UserError(
            "the data backend tf needs TensorFlow, which is not installed; choose numpy"
        )
    # Both give the same batches; a thread over NumPy is the faster one and starts at once.
    return "numpy" if name == "auto" else name


def _thread_batches(
    read: Callable[[int], NDArray[np.int32]], count: int | None, prefetch: int
) -> Batches:
    """The batches in read(0), read(1), … read(count - 1) (None: without end), each
    int32 [batches, rows, seq_len]; one thread reads ahead by at least `prefetch` batches."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    asked: Iterator[int] = itertools.count() if count is None else iter(range(count))
    ahead: deque[Future[NDArray[np.int32]]] = deque()
    ready: deque[NDArray[np.int32]] = deque()

    def ask(reads: int) -> None:
        ahead.extend(pool.submit(read, number) for number in itertools.islice(asked, reads))

    def following() -> Batch:
        if not ready:
            if not ahead:
                ask(1)
            if not ahead:
                raise StopIteration
            ready.extend(ahead.popleft().result())
        missing = prefetch - len(ready) - len(ahead)
        ask(max(missing, 0))
        return {"input_ids": ready.popleft()}

    return Batches(following, lambda: pool.shutdown(wait=False, cancel_futures=True))


def _tensorflow_batches(
    read: Callable[[int], NDArray[np.int32]], shape: tuple[int, int, int], prefetch: int
) -> Batches:
    """The same endless batches, read ahead by tf.data; `shape` is that of every read."""
    tf = _tensorflow()
    failures: list[Exception] = []
    stopped = False

    def read_ids(number: int) -> NDArray[np.int32]:
        if stopped:
            raise RuntimeError("the iterator is closed")
        try:
            return read(int(number))
        except Exception as error:  # TensorFlow would pass on its text alone
            failures.append(error)
            raise

    def load(number: Any) -> Any:
        return tf.ensure_shape(tf.numpy_function(read_ids, [number], tf.int32), shape)

    # On the host, whatever accelerator TensorFlow may have been built for.
    with tf.device("CPU"):
        dataset = tf.data.Dataset.counter().map(load).unbatch().prefetch(max(prefetch, shape[0]))
        held = [dataset.as_numpy_iterator()]

    def following() -> Batch:
        try:
            return {"input_ids": next(held[0])}
        except tf.errors.OpError:
            if failures:
                raise failures[0] from None
            raise

    def stop() -> None:
        nonlocal stopped
        stopped = True
        held.clear()

    return Batches(following, stop)


def _tensorflow() -> ModuleType:
    """TensorFlow, kept away from accelerators, whose memory is JAX's."""
    import tensorflow as tf

    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        # TensorFlow was used before in this process; whoever did so chose its devices.
        pass
    return tf
