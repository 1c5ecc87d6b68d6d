"""Answers as JSON lines: in a file that is complete or absent, or in a pipe as they come."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.errors import UserError


def write_lines(records: Iterable[Mapping[str, Any] | None], target: str | PathLike[str]) -> int:
    """Writes records as JSON lines (.gz: packed) and moves the file into place when complete;
    returns their number.

    None is the line `null`. The folder of the file is made where it is missing. A link stays one:
    its target is written. "-" is standard output; that, pipes and devices get each line as it
    comes, until its reader closes it (`BrokenPipeError`, which the command line knows). Raises
    `UserError` where nothing can be written.
    """
    path = Path(target)
    try:
        if str(target) == "-":
            return _write(records, sys.stdout.buffer, flush=True)
        if path.exists() and not (path.is_file() or path.is_dir()):
            with path.open("wb", buffering=0) as stream:
                return _write(records, stream)
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.partial")
        try:
            with scratch.open("wb") as raw:
                if path.suffix == ".gz":
                    with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream:
                        count = _write(records, stream)
                else:
                    count = _write(records, raw)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except BrokenPipeError:  # `| head` has read enough: nothing is wrong
        raise
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    return count


def _write(records: Iterable[Mapping[str, Any] | None], stream: Any, flush: bool = False) -> int:
    count = 0
    for record in records:
        line = json.dumps(record, ensure_ascii=False, default=_plain)
        stream.write(line.encode() + b"\n")
        if flush:
            stream.flush()
        count += 1
    stream.flush()
    return count


def check_outputs(source: str, *targets: str | PathLike[str] | None) -> None:
    """Raises `UserError` where an output is the input or another output."""
    seen = {Path(source).resolve()}
    for target in targets:
        if target is None or str(target) == "-":
            continue
        path = Path(target).resolve()
        if path in seen and (path.is_file() or not path.exists()):
            raise UserError(f"{target} is read or written already: name another output file")
        seen.add(path)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")
