"""The zip file that the GLUE server takes: one .tsv of predictions a task."""

from __future__ import annotations

import math
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.kinds.table import find_kind
from electra_jax.finetuning.task_table import GLUE_TASKS, TASKS

MISMATCHED = "mnli_mismatched"

# Rows of the official test sets, for which the server wants one prediction each.
TEST_ROWS = {
    "cola": 1063,
    "sst2": 1821,
    "mrpc": 1725,
    "stsb": 1379,
    "qqp": 390_965,
    "mnli": 9796,
    MISMATCHED: 9847,
    "qnli": 5463,
    "rte": 3000,
    "wnli": 146,
    "ax": 1104,
}


def submission_files() -> dict[str, str]:
    """The file in the zip of each task; MNLI's mismatched test set counts as `mnli_mismatched`."""
    files = {}
    for name in GLUE_TASKS:
        for key, file in zip((name, MISMATCHED), TASKS[name].glue_file):
            files[key] = file
    return files


def write_submission(
    path: str | os.PathLike[str],
    predictions: Mapping[str, Sequence[Mapping[str, Any]]],
    partial: bool = False,
) -> list[str]:
    """Writes the zip and gives the names of the files in it.

    Each file has the header "index", "prediction" and a row for each example, in the order of the
    official test set: by the predictions' "id" where these are its row numbers (data sets may be
    stored in another order), else as given. Labels are the official names, STS-B's scores are cut
    to 0 … 5 and have three decimals.

    Args:
      path: the .zip; replaced where it exists.
      predictions: by task (`mnli` is matched, `mnli_mismatched` the other), what `decode` gave for
        each example of the test set.
      partial: accept that tasks or rows are missing (the server does not).

    Raises:
      UserError: an unknown task, missing tasks, another number of rows than the official test
        set's, row numbers that repeat or are not its, or a label that the task does not have.
    """
    files = submission_files()
    unknown = [name for name in predictions if name not in files]
    if unknown:
        raise UserError(f"not tasks of GLUE: {', '.join(unknown)}; they are {', '.join(files)}")
    missing = [name for name in files if name not in predictions]
    if missing and not partial:
        raise UserError(
            f"a submission needs all {len(files)} tasks; missing: {', '.join(missing)}. Predict "
            "their test sets too, or ask for a partial submission"
        )
    for name, rows in predictions.items():
        if len(rows) != TEST_ROWS[name] and not partial:
            raise UserError(
                f"{name} has {len(rows)} predictions, its official test set {TEST_ROWS[name]} "
                "rows; predict the whole of it, or ask for a partial submission"
            )
    ordered = {name: _in_order(name, rows, partial) for name, rows in predictions.items()}
    contents = {files[n]: "".join(_lines(n, ordered[n])) for n in files if n in ordered}
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, content in contents.items():
                entry = zipfile.ZipInfo(file)  # a fixed date: the same predictions, the same zip
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return list(contents)


def _in_order(
    name: str, rows: Sequence[Mapping[str, Any]], partial: bool
) -> list[tuple[int, Mapping[str, Any]]]:
    """(row number in the official test set, prediction), by row number."""
    ids = [str(row.get("id", "")) for row in rows]
    if not all(number.isdecimal() for number in ids):
        return list(enumerate(rows))
    numbers = list(map(int, ids))
    if len(set(numbers)) < len(numbers):
        raise UserError(f"{name}: the id {Counter(ids).most_common(1)[0][0]} comes twice")
    if not partial and max(numbers, default=0) >= len(rows):
        raise UserError(
            f"{name}: the ids go up to {max(numbers)}, where row numbers of the official test set "
            f"end at {len(rows) - 1}; predict the official file"
        )
    return sorted(zip(numbers, rows, strict=True), key=lambda pair: pair[0])


def _lines(name: str, predictions: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[str]:
    task = TASKS["mnli" if name == MISMATCHED else name]
    field = find_kind(task.kind).answer
    yield "index\tprediction\n"
    for index, prediction in predictions:
        if field not in prediction:
            raise UserError(
                f'{name}: prediction {index} has no "{field}"; give what `electra-jax predict` '
                f"wrote with a model of {task.name}"
            )
        if task.labels is None:
            low, high = task.target_range or (0.0, 1.0)
            score = prediction["score"]
            if not isinstance(score, int | float) or not math.isfinite(score):
                raise UserError(f"{name}: prediction {index} has the score {score}, not a number")
            value = f"{min(max(float(score), low), high):.3f}"
        else:
            value = str(prediction["label"])
            if value not in task.labels:
                raise UserError(
                    f'{name}: prediction {index} is "{value}"; the official labels are '
                    f"{', '.join(task.labels)}"
                )
        yield f"{index}\t{value}\n"
