"""Data sets of tensorflow-datasets, by name; the only module that opens them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from electra_jax.errors import UserError

TFDS_PREFIX = "tfds:"


def open_dataset(name: str) -> tuple[Any, Iterator[dict[str, Any]]]:
    """(features, examples in stored order) of `tfds:NAME[/CONFIG][:SPLIT]`, split `train` unless
    named. Examples are dicts of NumPy values; texts are bytes.

    Raises:
      UserError: tensorflow-datasets is not installed, or the name does not load.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise UserError(
            f"{name} needs tensorflow-datasets: pip install tensorflow-cpu tensorflow-datasets"
        ) from None
    dataset, _, split = name.removeprefix(TFDS_PREFIX).partition(":")
    try:
        builder = tfds.builder(dataset)
        builder.download_and_prepare()
        # One file after the other: the order must not depend on timing.
        examples = builder.as_dataset(
            split=split or "train",
            shuffle_files=False,
            read_config=tfds.ReadConfig(
                interleave_cycle_length=1, num_parallel_calls_for_interleave_files=1
            ),
        )
    except Exception as error:  # tfds raises many types; each means that this name did not load
        reason = str(error).strip().splitlines()
        raise UserError(
            f"{name} did not load: {reason[0] if reason else type(error).__name__}"
        ) from error
    return builder.info.features, iter(tfds.as_numpy(examples))
