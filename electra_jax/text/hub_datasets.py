"""Data sets of the Hugging Face Hub by name, streamed by the `datasets` library (extra `datasets`).

`open_hub_dataset` gives records for any purpose: fine-tuning data is read through it as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from electra_jax.errors import UserError

HUB_PREFIX = "hf:"


@dataclass(frozen=True)
class HubDataset:
    """One split of a data set.

    columns: names in stored order. texts: those that hold strings. class_names: of each column of
    class labels, whose records hold the number of the class. records: dicts of Python values by
    column; iterating raises UserError where the data cannot be read.
    """

    columns: tuple[str, ...]
    texts: tuple[str, ...]
    class_names: dict[str, tuple[str, ...]]
    records: Iterator[dict[str, Any]]


def open_hub_dataset(name: str) -> HubDataset:
    """Streams `hf:NAME[/CONFIG][:SPLIT]` in stored order, split `train` unless named.

    NAME is `organisation/name`, an old data set's `name`, or a local folder that
    `datasets.load_dataset` reads. Of `a/b`, `a/b` as a name is tried first, then `b` as a
    configuration of `a`.

    Raises:
      UserError: `datasets` is not installed, or the name, configuration or split does not load.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{name} needs the datasets library: pip install 'electra_jax[datasets]'"
        ) from None
    errors = []
    for path, config, split in candidates(name):
        try:
            stream = datasets.load_dataset(path, config, split=split, streaming=True)
            return _described(name, stream)
        except UserError:
            raise
        except Exception as error:  # the library raises many kinds; each means: this did not load
            errors.append(_reason(error))
    raise UserError(f"{name} did not load: {'; '.join(dict.fromkeys(errors))}")


def candidates(name: str) -> list[tuple[str, str | None, str]]:
    """(path, configuration, split) that `hf:NAME[/CONFIG][:SPLIT]` may mean, likeliest first.

    Raises UserError where the name has no path.
    """
    path, split = name.removeprefix(HUB_PREFIX), "train"
    if not os.path.exists(path):
        path, _, named = path.partition(":")
        split = named or split
    parts = path.split("/")
    if not path or (not os.path.exists(path) and not all(parts)):
        raise UserError(f"{name} names no data set; give hf:NAME[/CONFIG][:SPLIT]")
    if os.path.exists(path) or len(parts) == 1:
        return [(path, None, split)]
    if len(parts) == 2:
        return [(path, None, split), (parts[0], parts[1], split)]
    return [("/".join(parts[:2]), "/".join(parts[2:]), split)]


def _described(name: str, stream: Any) -> HubDataset:
    records = iter(stream)
    features = stream.features
    if features is None:  # formats without a schema: the first record has it
        first = next(records, None)
        columns = tuple(first or ())
        texts = tuple(key for key in columns if isinstance((first or {})[key], str))
        class_names: dict[str, tuple[str, ...]] = {}
        records = _chained(first, records)
    else:
        columns = tuple(features)
        texts = tuple(
            key for key, value in features.items() if getattr(value, "dtype", None) in _STRINGS
        )
        class_names = {
            key: tuple(value.names)
            for key, value in features.items()
            if getattr(value, "names", None) is not None
        }
    return HubDataset(columns, texts, class_names, _readable(name, records))


_STRINGS = ("string", "large_string")


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    if first is not None:
        yield first
    yield from rest


def _readable(name: str, records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    try:
        yield from records
    except Exception as error:  # of the network, or of the file format
        raise UserError(f"{name} could not be read to its end: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
