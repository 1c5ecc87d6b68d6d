"""The metrics of a run: metrics.jsonl, TensorBoard, and Weights & Biases where it is set up.

`metrics.jsonl` is the record, one JSON object a line; the other two are views of it.
"""

import json
import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from electra_jax.errors import UserError
from electra_jax.files import read_json, write_json_atomic, write_text_atomic
from electra_jax.objectives.presentation import Metric

_log = logging.getLogger(__name__)

FILE = "metrics.jsonl"
EVAL = "eval_"  # the prefix of held-out figures
TITLES = "metric_titles.json"  # how the objective's metrics are shown
_WANDB = "wandb.json"


class _Sink(Protocol):
    def write(self, row: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class MetricsLog:
    """Appends rows to WORKDIR/metrics.jsonl and to the other logs that are enabled.

    resume_step: the step that the run begins at, 0 for a new one. Rows of later steps, left by a
        run that was stopped, are taken out first (in one move), and so is a torn last line, so that
        every step appears once.
    tensorboard: also write WORKDIR/tensorboard/{train,eval}; the two share tags, so that
        TensorBoard draws training and held-out curves into one chart.
    wandb: arguments of `wandb.init`; the run's id is kept in WORKDIR/wandb.json and used again.

    One process of a run writes. Raises UserError where the disk is full or cannot be written, or
    where the package of an enabled log is missing.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        *,
        resume_step: int,
        tensorboard: bool = True,
        wandb: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(workdir) / FILE
        # An evaluation of the restored step is made before its checkpoint, and again after it.
        self._known = cut_back(self.path, resume_step)
        self._sinks: list[_Sink] = []
        if tensorboard:
            self._sinks.append(_TensorBoard(Path(workdir) / "tensorboard", resume_step))
        if wandb is not None:
            self._sinks.append(_WeightsAndBiases(Path(workdir), wandb))
        try:
            self._stream = open(self.path, "ab", buffering=0)
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def write(self, row: Mapping[str, Any]) -> None:
        """Add one row: `step` (an integer) and figures: numbers, scalar arrays, strings, None.

        A figure that is not finite becomes null: JSON cannot hold it. A row whose step and
        keys are those of one kept at resumption is the same one and is left out.
        """
        plain = {key: _plain(key, value) for key, value in row.items()}
        if not isinstance(plain.get("step"), int):
            raise TypeError(f"a row of metrics needs an integer step, not {plain.get('step')!r}")
        if _identity(plain) in self._known:
            return
        try:
            # One write, so that a kill can tear the last line and no other.
            self._stream.write((json.dumps(plain, ensure_ascii=False) + "\n").encode())
            for sink in self._sinks:
                sink.write(plain)
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close every file; W&B uploads what is left."""
        self._stream.close()
        for sink in self._sinks:
            sink.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NoLog:
    """The log of a process that does not write: drops every row."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def write_metrics(workdir: str | os.PathLike[str], metrics: Sequence[Metric]) -> None:
    """Writes how a run's metrics are shown, so that reports need no objective's file; writes
    nothing where all of them are the package's own."""
    from electra_jax.objectives.table import known_metrics

    if set(metrics) <= set(known_metrics()):
        return
    write_json_atomic(Path(workdir) / TITLES, [metric._asdict() for metric in metrics])


def read_metrics(workdir: str | os.PathLike[str]) -> tuple[Metric, ...]:
    """How the metrics of a run are shown; without `metric_titles.json`, those of the package's
    objectives."""
    path = Path(workdir) / TITLES
    if not path.exists():
        from electra_jax.objectives.table import known_metrics

        return known_metrics()
    try:
        return tuple(Metric(**entry) for entry in read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"cannot read {path}: {error}; mend or remove it") from error


def read_rows(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of WORKDIR/metrics.jsonl in the order written; none where there is no file.

    A line that is not a row (a run under way may be in the middle of one) is left out.
    """
    path = Path(workdir) / FILE
    return [row for line in _lines(path) if (row := _parse(line)) is not None]


def cut_back(path: Path, step: int) -> set[tuple[int, frozenset[str]]]:
    """Drop the rows after `step` and every line that is not a row.

    Returns (step, keys) of the rows of `step` itself that stay.
    """
    kept: list[bytes] = []
    last: set[tuple[int, frozenset[str]]] = set()
    lines = _lines(path)
    for number, line in enumerate(lines, start=1):
        row = _parse(line)
        if row is None:
            if number < len(lines):
                _log.warning("%s: line %d is not a row of metrics and is dropped", path, number)
        elif row["step"] <= step:
            kept.append(line)
            if row["step"] == step:
                last.add(_identity(row))
    if len(kept) != len(lines):
        write_text_atomic(path, b"".join(kept).decode())
    return last


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def _identity(row: Mapping[str, Any]) -> tuple[int, frozenset[str]]:
    return row["step"], frozenset(row)


def _plain(key: str, value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"figure {key!r} is {type(value).__name__}: give a number, a string or None")


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot write {path}: {error.strerror or error}; free space or make it writable, then "
        "give the same command again"
    )


class _TensorBoard:
    """Event files by the `tensorboard` package's own protocol buffers, without TensorFlow."""

    def __init__(self, folder: Path, resume_step: int) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise UserError(
                "train.tensorboard=true and the package `tensorboard` is missing: "
                "install it, or set train.tensorboard=false"
            ) from error
        self._folder = folder
        self._resume_step = resume_step
        self._event, self._summary, self._record_writer = event_pb2, summary_pb2, RecordWriter
        self._writers: dict[str, Any] = {}

    def write(self, row: Mapping[str, Any]) -> None:
        split: dict[str, list[tuple[str, float]]] = {"train": [], "eval": []}
        for key, value in row.items():
            if key != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                split["eval" if key.startswith(EVAL) else "train"].append(
                    (key.removeprefix(EVAL), float(value))
                )
        for name, figures in split.items():
            if figures:
                values = [
                    self._summary.Summary.Value(tag=tag, simple_value=figure)
                    for tag, figure in figures
                ]
                self._put(
                    name,
                    wall_time=time.time(),
                    step=row["step"],
                    summary=self._summary.Summary(value=values),
                )

    def _put(self, name: str, **fields: Any) -> None:
        if name not in self._writers:
            self._writers[name] = self._open(self._folder / name)
            self._put(name, wall_time=fields["wall_time"], file_version="brain.Event:2")
            # Readers forget what an earlier file has at this step or later.
            self._put(
                name,
                wall_time=fields["wall_time"],
                step=self._resume_step + 1,
                session_log=self._event.SessionLog(status=self._event.SessionLog.START),
            )
        self._writers[name].write(self._event.Event(**fields).SerializeToString())

    def _open(self, folder: Path) -> Any:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # TensorBoard reads files in the order of their names, so a clock that was set back
            # must not put a resumed run before the one that it resumes.
            stamps = [file.name.split(".")[3] for file in folder.glob("events.out.tfevents.*")]
            taken = [int(stamp) for stamp in stamps if stamp.isdecimal()]
            stamp = max([int(time.time()), *(number + 1 for number in taken)])
            name = f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}.{os.getpid()}"
            return self._record_writer(open(folder / name, "ab", buffering=0))
        except OSError as error:
            raise _cannot_write(folder, error) from error

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class _WeightsAndBiases:
    def __init__(self, workdir: Path, arguments: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                "train.wandb is set and the package `wandb` is missing: "
                "`pip install wandb`, or leave train.wandb out"
            ) from error
        kept = workdir / _WANDB
        if "id" in arguments:
            identity = str(arguments["id"])
        elif kept.exists():
            identity = read_json(kept)["id"]
        else:
            identity = secrets.token_hex(4)
        write_json_atomic(kept, {"id": identity})
        try:
            self._run = wandb.init(
                **{"dir": str(workdir), "resume": "allow", **arguments, "id": identity}
            )
        except Exception as error:  # its own classes, which differ between versions
            raise UserError(
                f"Weights & Biases did not start: {error}; run `wandb login`, set "
                "WANDB_MODE=offline, or leave train.wandb out"
            ) from error

    def write(self, row: Mapping[str, Any]) -> None:
        # Their steps only grow: those made again after a resumption equal the ones they have.
        figures = {key: value for key, value in row.items() if key != "step" and value is not None}
        self._run.log(figures, step=row["step"])

    def close(self) -> None:
        self._run.finish()


def columns(rows: list[dict[str, Any]]) -> dict[str, tuple[list[int], list[float | None]]]:
    """{key: (steps, values)} of every key that is a number somewhere; null stays None.

    A step that appears twice under a key counts once, with its last value.
    """
    found: dict[str, dict[int, float | None]] = {}
    for row in rows:
        for key, value in row.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if key != "step" and (number or value is None):
                found.setdefault(key, {})[row["step"]] = value
    return {
        key: (sorted(series), [series[step] for step in sorted(series)])
        for key, series in found.items()
        if any(value is not None for value in series.values())
    }
