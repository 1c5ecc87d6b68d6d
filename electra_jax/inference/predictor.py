"""Answers of a fine-tuned model: for a few inputs in Python, or for files of any length.

Files are read, answered and written a block at a time, so memory does not grow with them; what
`evaluate` keeps of an example is its label and its answer.
"""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from electra_jax.errors import UserError
from electra_jax.finetuning.data.batches import LENGTHS, Plan
from electra_jax.finetuning.data.examples import Example
from electra_jax.finetuning.data.readers import TFDS_PREFIX, read_examples
from electra_jax.finetuning.export import TrainedTask, trained_task
from electra_jax.finetuning.forward import Forward
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.loaded import LoadedModel
from electra_jax.modeling.encoder import join_layers, split_layers

log = logging.getLogger(__name__)

BLOCK = 2048  # examples read, answered and written at a time
SMALL_BATCHES = (1, 4, 16)  # a partial batch is padded to one of these: one text costs one row


class Predictor:
    """A fine-tuned model folder, ready to answer.

    predictor = Predictor("runs/sst2/model")
    predictor.predict(["a gripping film", "two hours of my life"])
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | LoadedModel,
        task: str | None = None,
        batch_size: int = 32,
        null_threshold: float | None = None,
    ) -> None:
        """`model` is a folder, or what `electra_jax.load` gave. `task` must have the model's kind
        and labels, where it is given. `null_threshold`: null odds above it mean that a question has
        no answer (default: the model's). Raises `UserError` where the folder holds no fine-tuned
        model."""
        loaded = model if isinstance(model, LoadedModel) else load_model_folder(model)
        self.trained: TrainedTask = trained_task(loaded, task, null_threshold)
        longest = self.trained.settings.max_length
        shorter = [n for n in LENGTHS if n < longest]
        config = self.trained.network.config.replace(scan_layers=False)
        network = dataclasses.replace(self.trained.network, config=config)
        small = tuple(n for n in SMALL_BATCHES if n < batch_size)
        fields = network.kind.fields
        plan = Plan((*shorter, longest), batch_size, config.pad_token_id, small, fields)
        self._params = jax.device_put(split_layers(self.trained.params))
        self._forward = Forward(network, plan, merge=lambda params, _: join_layers(params))

    def answers(self, examples: Iterable[Example]) -> Iterator[dict[str, Any]]:
        """The decoded answer to each example, in order; reads `BLOCK` of them ahead."""
        codec = self.trained.codec
        cut, missed = codec.truncated, codec.missed_words
        iterator = iter(examples)
        while block := list(itertools.islice(iterator, BLOCK)):
            encoded = [codec.encode(e, False) for e in block]
            features = [f for each in encoded for f in each]
            outputs = iter(self._forward(self._params, features))
            for example, parts in zip(block, encoded, strict=True):
                yield codec.decode(example, parts, [next(outputs) for _ in parts])
        if cut := codec.truncated - cut:
            missed = codec.missed_words - missed
            words = f"; {missed:,} words have no tag" if missed else ""
            log.warning(
                "texts cut at %d tokens, for which the model was trained: %s%s",
                self.trained.settings.max_length, f"{cut:,}", words,
            )  # fmt: skip

    def predict(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Answers to a few inputs: a text, a pair of texts, a list of words (tagging), or a mapping
        as a line of a file would be ({"question": …, "context": …}, {"text": …, "head": …}), by
        the names of columns that training had."""
        if isinstance(inputs, str | Mapping):
            raise UserError("predict takes a list of inputs: write predict([…]) for one")
        return list(self.answers(self._example(i, x) for i, x in enumerate(inputs)))

    def _example(self, number: int, value: Any) -> Example:
        where, kind = f"input {number}", self.trained.network.kind
        given = value
        if isinstance(value, Mapping):
            given = {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}
        columns, usual = self.trained.columns, self.trained.training_columns
        try:
            return kind.input(self.trained.task, given, where, number, columns, usual)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{where}: not an input of {kind.name}: {value!r}") from error

    def evaluate(
        self,
        path: str,
        columns: Mapping[str, str | None] | None = None,
        predictions: str | os.PathLike[str] | None = None,
        quiet: bool = True,
    ) -> dict[str, float]:
        """The task's official metrics on a labelled file; the answers go to the file
        `predictions` as `predict_file` writes them, if one is named."""
        check_outputs(path, predictions)
        codec, task, kind = self.trained.codec, self.trained.task, self.trained.network.kind
        names = {**self.trained.columns, **(columns or {})}

        def examples() -> Iterator[Example]:
            labels = codec.labels or None
            return read_examples(
                task, path, names, labels=labels, usual=self.trained.training_columns
            )

        again: Iterable[Example]
        if _can_be_read_twice(path):
            # A first pass finds what is wrong, in the last line too, before any work is done.
            count, again = kind.check_examples(task, path, examples()), examples()
        else:
            again = list(examples())
            count = kind.check_examples(task, path, again)
        gold: list[Example] = []
        scored: list[dict[str, Any]] = []

        def read() -> Iterator[Example]:
            for example in again:
                gold.append(kind.without_texts(example))
                yield example

        def answered() -> Iterator[dict[str, Any]]:
            with tqdm(unit=" examples", disable=quiet, desc="evaluate", total=count) as bar:
                for answer in self.answers(read()):
                    bar.update()
                    scored.append(kind.for_scores(answer))
                    yield answer

        if predictions is not None:
            write_lines(answered(), predictions)
        else:
            for _ in answered():
                pass
        return codec.score(gold, scored)

    def predict_file(
        self,
        source: str,
        target: str | os.PathLike[str],
        columns: Mapping[str, str | None] | None = None,
        quiet: bool = False,
    ) -> int:
        """Writes one JSON line for each example of `source`, in order; how many.

        A first pass over the file finds what is wrong, in its last line too, before any work.
        `target` is moved into place when it is complete.
        """
        check_outputs(source, target)
        names, task = {**self.trained.columns, **(columns or {})}, self.trained.task

        def examples() -> Iterator[Example]:
            return read_examples(task, source, names, False, usual=self.trained.training_columns)

        total = sum(1 for _ in examples()) if _can_be_read_twice(source) else None
        bar = tqdm(
            self.answers(examples()), unit=" examples", disable=quiet, desc="predict", total=total
        )
        return write_lines(bar, target)


def _can_be_read_twice(source: str) -> bool:
    """True of a file or a data set, False of a pipe."""
    return source.startswith(TFDS_PREFIX) or os.path.isfile(source)


def write_lines(records: Iterable[Mapping[str, Any]], target: str | os.PathLike[str]) -> int:
    """Writes records as JSON lines (.gz: packed) and moves the file into place when complete.

    A link stays one: its target is written. "-" is standard output; that, pipes and devices get
    each line as it comes.
    """
    path = Path(target)
    try:
        if str(target) == "-":
            return _write(records, sys.stdout.buffer)
        if path.exists() and not (path.is_file() or path.is_dir()):
            with path.open("wb", buffering=0) as stream:
                return _write(records, stream)
        path = path.resolve()
        scratch = path.with_name(f".{path.name}.partial")
        try:
            with scratch.open("wb") as raw:
                if path.suffix == ".gz":
                    with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as stream:
                        count = _write(records, stream)
                else:
                    count = _write(records, raw)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    return count


def _write(records: Iterable[Mapping[str, Any]], stream: Any) -> int:
    count = 0
    for record in records:
        line = json.dumps(record, ensure_ascii=False, default=_plain)
        stream.write(line.encode() + b"\n")
        count += 1
    stream.flush()
    return count


def check_outputs(source: str, *targets: str | os.PathLike[str] | None) -> None:
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
