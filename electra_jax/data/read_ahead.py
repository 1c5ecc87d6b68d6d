"""Readers that prefetch batches: a thread over NumPy, tf.data, or the thread until TensorFlow is
imported and tf.data from there on.

All of them call `read(number)`, a pure function of the number, so the batches do not depend on the
reader.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any, Literal

from numpy.typing import NDArray

from electra_jax.config.training import BACKENDS
from electra_jax.errors import UserError

log = logging.getLogger(__name__)

Batch = dict[str, NDArray[Any]]
# {name: [batches, …]}: one read yields several batches, or one.
Read = Callable[[int], Batch]
Source = Callable[[], Batch]
Backend = Literal["auto", "tf", "numpy"]

READ_AHEAD = 4
# "auto" imports TensorFlow at the request for the batch of this number: the step is then compiled
# and the first metrics are written, so the first step is no later, …
IMPORT_AT_BATCH = 3
# … and not before so many seconds of reading: a shorter run is over before the import would pay.
IMPORT_AFTER_SECONDS = 10.0


class Batches(Iterator[Batch]):
    """An iterator over a reader that runs in the background: `close` stops the reader, and so does
    dropping the iterator."""

    def __init__(self, source: Source, stop: Callable[[], object]) -> None:
        self._source = source
        # Also runs at the exit of the interpreter, before TensorFlow's threads could outlive it.
        self._finalizer = weakref.finalize(self, stop)

    @property
    def imports_later(self) -> bool:
        """Whether TensorFlow may be imported while this iterator is read."""
        return isinstance(getattr(self._source, "__self__", None), _HandOver)

    def __next__(self) -> Batch:
        if not self._finalizer.alive:
            raise StopIteration
        try:
            return self._source()
        except BaseException:  # StopIteration too: the end of the iteration stops the reader
            self.close()
            raise

    def close(self) -> None:
        """Stops reading ahead; the iterator is at its end from now on."""
        self._finalizer()

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def imports_later(backend: str) -> bool:
    """Whether a reader without end imports TensorFlow while it is read."""
    return backend == "auto" and importlib.util.find_spec("tensorflow") is not None


def read_ahead(
    read: Read,
    *,
    backend: Backend = "auto",
    count: int | None = None,
    prefetch: int = READ_AHEAD,
) -> Batches:
    """The batches in read(0), read(1), … in order.

    Args:
      read: {name: [batches, …]} of a number, a pure function that any thread may call.
      backend: "numpy" reads in a thread; "tf" with tf.data; "auto" with tf.data where TensorFlow
        is installed, after a thread has read the first batches while it is imported.
      count: reads until the end; None: without end (needed for "tf" and "auto").
      prefetch: batches read ahead, at least.

    Raises:
      UserError: an unknown or missing backend. While iterating: whatever `read` raises.
    """
    if backend not in BACKENDS:
        raise UserError(f"data.backend={backend!r}: choose one of {', '.join(BACKENDS)}")
    installed = importlib.util.find_spec("tensorflow") is not None
    if backend == "tf" and not installed:
        raise UserError(
            "the data backend tf needs TensorFlow, which is not installed; choose "
            "data.backend=numpy or auto"
        )
    reader: _ThreadReader | _TensorFlowReader | _HandOver
    if backend == "numpy" or not installed or count is not None:
        reader = _ThreadReader(read, count, prefetch)
    elif backend == "tf":
        reader = _TensorFlowReader(read, prefetch)
        reader.start(0)
    else:
        reader = _HandOver(read, prefetch)
    return Batches(reader.next, reader.stop)


class _ThreadReader:
    """One thread reads ahead by at least `prefetch` batches."""

    def __init__(self, read: Read, count: int | None, prefetch: int) -> None:
        self._read, self._count, self._prefetch = read, count, prefetch
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._number = 0  # the next one to read
        self._ahead: deque[Future[Batch]] = deque()
        self._ready: deque[Batch] = deque()

    @property
    def empty(self) -> bool:
        """Whether nothing is read or being read."""
        return not self._ready and not self._ahead

    def next(self) -> Batch:
        if not self._ready:
            if not self._ahead:
                self._submit(1)
            if not self._ahead:
                raise StopIteration
            self._ready.extend(_split(self._ahead.popleft().result()))
        self._submit(self._prefetch - len(self._ready) - len(self._ahead))
        return self._ready.popleft()

    def end_here(self) -> int:
        """Ends after what is being read; returns the number of the read that would follow."""
        self._count = self._number
        return self._number

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, reads: int) -> None:
        for _ in range(reads):
            if self._number == self._count:
                return
            self._ahead.append(self._pool.submit(self._read, self._number))
            self._number += 1


class _TensorFlowReader:
    """tf.data reads ahead. Call `start` before `next`; it may be called again."""

    def __init__(self, read: Read, prefetch: int) -> None:
        tf = _tensorflow()
        self._tf, self._read = tf, read
        self._first = 0  # the number of the first read
        self._failures: list[Exception] = []
        self._stopped = False
        like = read(0)
        self._names = list(like)
        dtypes = [tf.as_dtype(x.dtype) for x in like.values()]
        shapes = [[None] * x.ndim for x in like.values()]

        def load(number: Any) -> Any:
            arrays = tf.numpy_function(self._arrays, [number], dtypes)
            return tuple(tf.ensure_shape(x, s) for x, s in zip(arrays, shapes, strict=True))

        options = tf.data.Options()
        # One thread is enough for what Python does, and leaves the cores to XLA.
        options.threading.private_threadpool_size = 1
        options.threading.max_intra_op_parallelism = 1
        options.autotune.enabled = False
        reads = max(1, -(-prefetch // len(next(iter(like.values())))))
        with tf.device("CPU"):  # whatever accelerator TensorFlow may have been built for
            numbers = tf.data.Dataset.counter()
            self._dataset = numbers.map(load).prefetch(reads).with_options(options)
        self._iterator: Iterator[tuple[NDArray[Any], ...]] | None = None
        # Whole reads are fetched: each fetch waits for a thread, on busy cores milliseconds.
        self._ready: deque[Batch] = deque()

    def start(self, first: int) -> None:
        """The next batch is the first one of read(first)."""
        self._first = first
        self._ready.clear()
        with self._tf.device("CPU"):
            self._iterator = self._dataset.as_numpy_iterator()

    def next(self) -> Batch:
        if not self._ready:
            assert self._iterator is not None
            try:
                arrays = next(self._iterator)
            except self._tf.errors.OpError:
                if self._failures:
                    raise self._failures[0] from None
                raise
            self._ready.extend(_split(dict(zip(self._names, arrays, strict=True))))
        return self._ready.popleft()

    def stop(self) -> None:
        self._stopped, self._iterator = True, None

    def _arrays(self, number: Any) -> list[NDArray[Any]]:
        if self._stopped:
            raise RuntimeError("the iterator is closed")
        try:
            return list(self._read(self._first + int(number)).values())
        except Exception as error:  # TensorFlow would pass on its text alone
            self._failures.append(error)
            raise


class _HandOver:
    """A thread reads while TensorFlow is imported in another; then tf.data goes on with the batch
    that follows."""

    def __init__(self, read: Read, prefetch: int) -> None:
        self._read, self._prefetch = read, prefetch
        self._thread = _ThreadReader(read, None, prefetch)
        self._coming: Future[_TensorFlowReader] | None = None
        self._tensorflow: _TensorFlowReader | None = None
        self._requests, self._began = 0, 0.0
        self._stopped = False

    def next(self) -> Batch:
        if self._tensorflow is None:
            self._requests += 1
            self._prepare()
        if self._tensorflow is not None and self._thread.empty:
            return self._tensorflow.next()
        return self._thread.next()

    def stop(self) -> None:
        self._stopped = True
        self._thread.stop()
        if self._tensorflow is not None:
            self._tensorflow.stop()

    def _prepare(self) -> None:
        """Begins the import when it is time, and takes its result when it is there."""
        if self._requests == 1:
            self._began = time.monotonic()
        late = time.monotonic() - self._began >= IMPORT_AFTER_SECONDS
        if self._coming is None and self._requests >= IMPORT_AT_BATCH and late:
            self._coming = Future()
            # No daemon: an interpreter that ends while a library is being loaded may crash, so it
            # waits for that (seconds).
            threading.Thread(target=self._import, name="tensorflow", daemon=False).start()
        elif self._coming is not None and self._coming.done() and not self._coming.exception():
            reader = self._coming.result()
            reader.start(self._thread.end_here())
            self._tensorflow = reader

    def _import(self) -> None:
        assert self._coming is not None
        try:
            _tensorflow()
            if self._stopped or not threading.main_thread().is_alive():  # the program ends
                return
            reader = _TensorFlowReader(self._read, self._prefetch)
            reader.start(0)
            reader.next()  # what TensorFlow does once, it does here
            self._coming.set_result(reader)
        except Exception as error:
            if not self._stopped:
                log.warning("TensorFlow reads no batches, NumPy goes on: %s", error)
            self._coming.set_exception(error)


def _split(batches: Batch) -> list[Batch]:
    """The batches of one read."""
    number = len(next(iter(batches.values())))
    return [{name: x[i] for name, x in batches.items()} for i in range(number)]


def _tensorflow() -> ModuleType:
    """TensorFlow, kept away from accelerators, whose memory is JAX's, and from the cores."""
    # It only reads data here: no log messages.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    try:
        for kind in ("GPU", "TPU"):
            tf.config.set_visible_devices([], kind)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        # TensorFlow was used before in this process; whoever did so chose its devices.
        pass
    return tf
