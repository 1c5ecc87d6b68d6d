"""Answers of a fine-tuned model: for a few inputs in Python, or for files of any length.

Files are read, answered and written a block at a time, so memory does not grow with them; what
`evaluate` keeps of an example is its label and its answer.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import jax

from electra_jax.errors import UserError
from electra_jax.finetuning.data.batches import LENGTHS, Plan
from electra_jax.finetuning.data.examples import Example
from electra_jax.finetuning.export import TrainedTask, trained_task
from electra_jax.finetuning.forward import Forward
from electra_jax.inference.evaluation import Evaluation
from electra_jax.inference.input_file import InputFile, good, is_bad
from electra_jax.inference.progress import AnswerProgress
from electra_jax.inference.writer import check_outputs, write_lines
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
        max_length: int | None = None,
    ) -> None:
        """`model` is a folder, or what `electra_jax.load` gave. `task` must have the model's kind
        and labels, where it is given. `null_threshold`: null odds above it mean that a question has
        no answer (default: the model's). `max_length`: tokens of a text that are read (default:
        as many as in training). Raises `UserError` where the folder holds no fine-tuned model."""
        loaded = model if isinstance(model, LoadedModel) else load_model_folder(model)
        self.trained: TrainedTask = trained_task(loaded, task, null_threshold, max_length)
        self._positions = self.trained.network.config.max_position_embeddings
        longest = self.trained.settings.max_length
        shorter = [n for n in LENGTHS if n < longest]
        config = self.trained.network.config.replace(scan_layers=False)
        network = dataclasses.replace(self.trained.network, config=config)
        small = tuple(n for n in SMALL_BATCHES if n < batch_size)
        fields = network.kind.fields
        plan = Plan((*shorter, longest), batch_size, config.pad_token_id, small, fields)
        self._params = jax.device_put(split_layers(self.trained.params))
        self._forward = Forward(network, plan, merge=lambda params, _: join_layers(params))

    def answers(
        self, examples: Iterable[Example], progress: AnswerProgress | None = None
    ) -> Iterator[Any]:
        """The decoded answer to each example, in order, None to one that could not be read
        (`BadExample`); reads `BLOCK` of them ahead."""
        codec = self.trained.codec
        cut, missed = codec.truncated, codec.missed_words
        iterator = iter(examples)
        while block := list(itertools.islice(iterator, BLOCK)):
            encoded = [[] if is_bad(e) else codec.encode(e, False) for e in block]
            features = [f for each in encoded for f in each]
            if progress is not None:
                progress.block(len(block), len(features))
            watch = None if progress is None else progress.batch
            outputs = iter(self._forward(self._params, features, watch=watch))
            for example, parts in zip(block, encoded, strict=True):
                yield (
                    None
                    if is_bad(example)
                    else codec.decode(example, parts, [next(outputs) for _ in parts])
                )
        if cut := codec.truncated - cut:
            missed = codec.missed_words - missed
            words = f"; {missed:,} words have no tag" if missed else ""
            log.warning(
                "texts cut at %d tokens: %s%s (max_length is how many are read, of the model's %s)",
                self.trained.settings.max_length, f"{cut:,}", words, f"{self._positions:,}",
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
        on_error: str = "stop",
    ) -> Evaluation:
        """The task's official metrics on a labelled file ("-": standard input, as JSON lines), and
        those of each class.

        Args:
          predictions: the answers go to this file, as `predict_file` writes them.
          on_error: "stop" at a line that is wrong, or "skip" it: it does not count.
        """
        check_outputs(path, predictions)
        codec, task, kind = self.trained.codec, self.trained.task, self.trained.network.kind
        file = InputFile(path, self.trained, columns, True, on_error)
        again: Iterable[Example]
        if file.can_be_read_twice:
            # A first pass finds what is wrong, in the last line too, before any work is done.
            count = kind.check_examples(task, file.path, good(file.examples()))
            again = file.examples()
        else:
            again = list(file.examples())
            count = kind.check_examples(task, file.path, good(again))
        gold: list[Example] = []
        scored: list[dict[str, Any]] = []

        def read() -> Iterator[Example]:
            for example in again:
                if not is_bad(example):
                    gold.append(kind.without_texts(example))
                yield example

        def answered() -> Iterator[dict[str, Any] | None]:
            with closing(AnswerProgress("evaluate", count, quiet)) as progress:
                for answer in self.answers(read(), progress):
                    if answer is not None:
                        scored.append(kind.for_scores(answer))
                    yield answer

        if predictions is not None:
            write_lines(answered(), predictions)
        else:
            for _ in answered():
                pass
        file.warn()
        return Evaluation(codec.score(gold, scored), kind.class_scores(codec, gold, scored))

    def predict_file(
        self,
        source: str,
        target: str | os.PathLike[str],
        columns: Mapping[str, str | None] | None = None,
        quiet: bool = False,
        on_error: str = "stop",
    ) -> int:
        """Writes one JSON line for each example of `source`, in order; their number.

        A first pass over the file finds what is wrong, in its last line too, before any work.
        `target` is moved into place when it is complete.

        Args:
          source: a file as for training, or "-", standard input, as JSON lines.
          on_error: "stop" at a line that is wrong, or "skip" it: its answer is `null`.
        """
        check_outputs(source, target)
        file = InputFile(source, self.trained, columns, False, on_error)
        total = sum(1 for _ in file.examples()) if file.can_be_read_twice else None
        with closing(AnswerProgress("predict", total, quiet)) as progress:
            count = write_lines(self.answers(file.examples(), progress), target)
        file.warn()
        return count
