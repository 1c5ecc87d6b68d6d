"""Batches of rows as a function of the position in a run.

Nothing here has a state worth saving: the batch that begins at example g is
`rows.take(rows.order(range(g, g + batch_size), seed))`, whatever came before, however many
processes share it, and whichever reader (`read_ahead.py`) fetched it.
"""

import numpy as np
from numpy.typing import NDArray

from electra_jax.data.mixture import Mixture
from electra_jax.data.read_ahead import READ_AHEAD, Backend, Batch, Batches, read_ahead
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError

# Small batches are read several at a time: computing the order and waking a thread cost about the
# same for 256 rows as for 32.
ROWS_AT_ONCE = 256


def train_batches(
    rows: Rows | Mixture,
    *,
    seed: int,
    batch_size: int,
    start_example: int = 0,
    batch_indices: NDArray[np.int64] | None = None,
    prefetch: int = READ_AHEAD,
    backend: Backend = "auto",
) -> Batches:
    """Training batches from example `start_example` of the run on, without end.

    Args:
      rows: the training split.
      seed: of the run's order.
      batch_size: examples in one batch over all processes.
      start_example: examples that the run has already seen.
      batch_indices: int [share], the examples of a batch that this process reads, where several
        share it, as indices into the batch; None for all of them.
      prefetch: batches read ahead.
      backend: "numpy" reads ahead with a thread, "tf" with tf.data, "auto" with tf.data where
        TensorFlow is installed, once it is imported. All yield the same batches.

    Returns:
      An iterator of {"input_ids": int32 [share, seq_len]}; the k-th holds the examples
      start_example + k·batch_size + batch_indices.

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
    first_batch = start_example + (
        np.arange(batch_size) if batch_indices is None else batch_indices
    )
    share = len(first_batch)
    together = max(1, ROWS_AT_ONCE // share)

    def read(number: int) -> Batch:
        batches = number * together + np.arange(together)
        ids = rows.order(batches[:, None] * batch_size + first_batch[None, :], seed)
        return {"input_ids": rows.take(ids.reshape(-1)).reshape(together, share, rows.seq_len)}

    return read_ahead(read, backend=backend, prefetch=prefetch)


def eval_batches(
    rows: Rows,
    batch_size: int,
    max_rows: int | None = None,
    batch_indices: NDArray[np.int64] | None = None,
    prefetch: int = READ_AHEAD,
) -> Batches:
    """The rows of a split once, in file order; the last batch is filled up with rows of padding.

    A row of padding has weight 0 in every loss and metric, so all batches have one shape and no row
    is left out or counted twice.

    Args:
      rows: the split.
      batch_size: rows in one batch over all processes.
      max_rows: stop after this many rows; None for all.
      batch_indices: as in `train_batches`.
      prefetch: batches read ahead.

    Returns:
      An iterator of ceil(rows / batch_size) times {"input_ids": int32 [share, seq_len]}.

    Raises:
      UserError: while iterating, a damaged file.
    """
    indices = np.arange(batch_size) if batch_indices is None else batch_indices
    count = rows.count if max_rows is None else min(rows.count, max_rows)

    def read(number: int) -> Batch:
        numbers = number * batch_size + indices
        ids = np.full((len(indices), rows.seq_len), rows.special_ids["pad"], dtype=np.int32)
        ids[numbers < count] = rows.take(numbers[numbers < count])
        return {"input_ids": ids[None]}

    return read_ahead(read, backend="numpy", count=-(-count // batch_size), prefetch=prefetch)
