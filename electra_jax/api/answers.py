"""What a fine-tuned model answers, as functions: `evaluate`, `predict`, `submission`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from electra_jax.api.host import prepare_host
from electra_jax.errors import UserError
from electra_jax.inference.evaluation import Evaluation
from electra_jax.inference.predictor import Predictor
from electra_jax.inference.writer import check_outputs, write_lines
from electra_jax.interop.loaded import LoadedModel

AnyPath = str | PathLike[str]
AnyModel = AnyPath | LoadedModel | Predictor


def evaluate(
    model: AnyModel,
    data: AnyPath,
    *,
    task: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    predictions: AnyPath | None = None,
    output: AnyPath | None = None,
    null_threshold: float | None = None,
    max_length: int | None = None,
    on_error: str = "stop",
    quiet: bool = True,
) -> Evaluation:
    """The task's official metrics of a fine-tuned model on labelled data: a dict by name, whose
    `classes` are the scores of each class.

    evaluate("runs/sst2/model", "SST-2/dev.tsv")

    Args:
      model: a model folder, what `load` gave, or a `Predictor`.
      data: a file as for training, tfds:NAME, or "-": standard input, as JSON lines.
      task: default: the one that the model was trained for; of a model made elsewhere, the one
        that its head and labels stand for.
      columns: the file's columns by role ({"text": "review"}), where they are not the default ones.
      predictions: write the answers to this file, as `predict` does.
      output: write the scores to this file, as JSON.
      null_threshold: SQuAD 2.0: no answer where null odds are above it.
      max_length: tokens of a text that are read (default: as many as in training).
      on_error: "stop" at a line that is wrong, or "skip" it, with a warning that counts them.
      quiet: no progress bar.

    Raises:
      UserError: no fine-tuned model, or a line of the data that is wrong (file:line).
    """
    prepare_host()
    from electra_jax.finetuning.result import with_nulls

    check_outputs(str(data), output, predictions)
    predictor = _predictor(model, task, null_threshold, max_length)
    scores = predictor.evaluate(str(data), columns, predictions, quiet, on_error)
    if output is not None:
        write_lines([with_nulls(dict(scores))], output)
    return scores


def predict(
    model: AnyModel,
    inputs: Sequence[Any] | AnyPath,
    output: AnyPath | None = None,
    *,
    task: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    null_threshold: float | None = None,
    max_length: int | None = None,
    on_error: str = "stop",
    quiet: bool = True,
) -> list[dict[str, Any]] | int:
    """Answers of a fine-tuned model to a few inputs, or to a file of any length.

    predict("runs/sst2/model", ["a gripping film", "two dull hours"])     # → the answers
    predict("runs/sst2/model", "reviews.jsonl", "answers.jsonl")          # → how many were written

    Args:
      model: a model folder, what `load` gave, or a `Predictor`, which is not read again.
      inputs: a list of texts, pairs, lists of words or mappings (see `Predictor.predict`), or the
        path of a file as for training, whose labels are not needed ("-": standard input).
      output: with a file, where its answers go, one JSON line each, in order, in constant memory
        ("-": standard output).
      task, columns, null_threshold, max_length: as for `evaluate`.
      on_error: with a file, "stop" at a line that is wrong, or "skip" it: its answer is `null`.
      quiet: no progress bar.

    Raises:
      UserError: no fine-tuned model, an input that is wrong, or a file without `output`.
    """
    is_file = isinstance(inputs, str | PathLike)
    if not is_file and on_error != "stop":
        raise UserError("predict: on_error goes with a file; leave out what is wrong in a list")
    if is_file != (output is not None):
        raise UserError(
            f"predict: name an output for the answers to the file {inputs}; a few texts are a list"
            if is_file
            else "predict: answers to a list are returned; an output goes with a file of inputs"
        )
    prepare_host()
    predictor = _predictor(model, task, null_threshold, max_length)
    if output is None:
        if columns:
            raise UserError("predict: columns go with a file; name the keys of mappings so")
        return predictor.predict(inputs)  # type: ignore[arg-type]
    return predictor.predict_file(str(inputs), output, columns, quiet, on_error)


def submission(
    answers: Mapping[str, AnyPath | Sequence[Mapping[str, Any]]],
    output: AnyPath,
    *,
    partial: bool = False,
) -> list[str]:
    """Writes the zip that GLUE's server takes; returns the names of the files in it.

    submission({"cola": "cola.jsonl", "mnli": "matched.jsonl", …}, "glue.zip")

    Args:
      answers: by task (`mnli` is matched, `mnli_mismatched` the other): the file that `predict`
        wrote, or its records.
      output: the .zip; replaced where it exists.
      partial: accept that tasks or rows are missing (the server does not).

    Raises:
      UserError: unknown or missing tasks, or answers that are not those of the test set.
    """
    from electra_jax.finetuning.data.records import read_records
    from electra_jax.finetuning.glue_submission import write_submission

    records = {
        task: [record for _, record in read_records(str(given))]
        if isinstance(given, str | PathLike)
        else given
        for task, given in answers.items()
    }
    return write_submission(output, records, partial)


def _predictor(
    model: AnyModel, task: str | None, null_threshold: float | None, max_length: int | None
) -> Predictor:
    if not isinstance(model, Predictor):
        return Predictor(model, task, null_threshold=null_threshold, max_length=max_length)
    if any(given is not None for given in (task, null_threshold, max_length)):
        raise UserError(
            "a Predictor has its task, null_threshold and max_length: give them to Predictor(…)"
        )
    return model
