"""The task data of a run: files, examples, features."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.codecs import MIN_LENGTH, make_codec
from electra_jax.finetuning.data.examples import Codec, CodecSettings, Example, Feature
from electra_jax.finetuning.data.label_report import LabelReport, resolve_missing
from electra_jax.finetuning.data.readers import (
    TFDS_PREFIX,
    columns_of,
    read_examples,
    same_content,
    without_header,
)
from electra_jax.finetuning.kinds.base import Kind
from electra_jax.finetuning.kinds.table import kind_of
from electra_jax.finetuning.task import Task
from electra_jax.finetuning.task_table import collect_labels, configured_task
from electra_jax.text.tokenizers.tokenizer import Tokenizer

log = logging.getLogger(__name__)

_SHOWN_LABELS = 20  # with their counts, of those that are most frequent

# Names of a folder's files, by split; each with any ending that a reader takes.
_NAMES = {
    "train": ("train",),
    "eval": ("dev", "valid", "validation", "eval", "val", "dev_matched", "validation_matched"),
    "test": ("test", "test_matched"),
}
_ENDINGS = ("jsonl", "tsv", "csv", "json", "conll", "conllu", "txt", "bio", "iob")


@dataclasses.dataclass(frozen=True)
class Files:
    """The splits of a task: each a path or `tfds:NAME/CONFIG:SPLIT`."""

    train: str
    eval: str | None = None
    test: str | None = None


def find_files(task: Task, data: Mapping[str, Any]) -> Files:
    """From `data.path` (a folder, a file, or tfds:NAME), `data.eval_path` and `data.test_path`."""
    path = data["path"]
    if not path:
        if task.tfds is None:
            raise UserError(
                "data.path is not set: --config.data.path=FOLDER with train.* and dev.* in it, or "
                "a training file"
            )
        path = f"{TFDS_PREFIX}{task.tfds}"
    found: dict[str, str | None] = {}
    if path.startswith(TFDS_PREFIX) and path.count(":") == 1:
        splits = task.splits or {"train": "train", "eval": "validation", "test": "test"}
        found = {split: f"{path}:{name}" for split, name in splits.items()}
    elif not path.startswith(TFDS_PREFIX) and Path(path).is_dir():
        found = {split: _in_folder(Path(path), split) for split in _NAMES}
        if found["train"] is None:
            raise _no_training_file(Path(path))
    else:
        found = {"train": path}
    train = found.get("train")
    assert train is not None
    return Files(
        train,
        data["eval_path"] or found.get("eval"),
        data["test_path"] or found.get("test"),
    )


def _in_folder(folder: Path, split: str) -> str | None:
    for name, ending, packed in itertools.product(_NAMES[split], _ENDINGS, ("", ".gz")):
        file = folder / f"{name}.{ending}{packed}"
        if file.is_file():
            return str(file)
    return None


def _no_training_file(folder: Path) -> UserError:
    names = sorted(entry.name for entry in folder.iterdir())
    has = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return UserError(
        f"data.path={folder}: no training file in this folder (train.{', train.'.join(_ENDINGS)}, "
        f"each also .gz); it has {has or 'nothing'}: name the file itself, or write the examples "
        "to a train.jsonl, one a line"
    )


def codec_settings(task: Task, data: Mapping[str, Any], positions: int) -> CodecSettings:
    """`data.*` with the task's defaults, checked against the model's positions."""
    length = data["max_length"] or min(task.max_length, positions)
    if length > positions:
        raise UserError(
            f"data.max_length={length} and the model has {positions} positions: use at most that, "
            "or a model with more"
        )
    if length < MIN_LENGTH:  # the model's positions
        raise UserError(f"data.max_length={length}: must be at least {MIN_LENGTH}")
    double = data["double_unordered"]
    return CodecSettings(
        max_length=length,
        double_unordered=task.double_unordered if double is None else double,
        doc_stride=data["doc_stride"],
        max_query_length=data["max_query_length"],
        max_answer_length=data["max_answer_length"],
        n_best=data["n_best"],
        on_bad_answer=data["on_bad_answer"],
        target_range=task.target_range or (0.0, 1.0),
        null_threshold=data["null_threshold"],
        threshold=data["threshold"],
        tagging=data["tagging"],
    )


def load_examples(
    task: Task,
    path: str,
    columns: Mapping[str, str | None],
    labelled: bool = True,
    labels: Sequence[str] | None = None,
    missing: str = "skip",
    report: LabelReport | None = None,
) -> list[Example]:
    """All examples of a file; see `read_examples`. Raises `UserError` where there are none."""
    kind = kind_of(task)
    # Whether -1 is a class, all labels of a training file tell.
    undecided = labelled and labels is None and task.labels is None
    examples = list(
        read_examples(
            task, path, columns, labelled, labels,
            missing="mark" if undecided else missing, report=report,
        )
    )  # fmt: skip
    if undecided:
        examples = resolve_missing(examples, kind.labels_of, path, missing)
    kind.check_examples(task, path, examples)
    return examples


@dataclasses.dataclass
class TaskData:
    """A task's examples, their codec, and the features to train on.

    `test` has the examples of `data.test_path`. `truncated` counts training texts that were cut,
    `missed_words` the words that a tagger lost by it. `unread` are the columns that nothing is read
    from, `notes` sentences about the labels of evaluation and test data.
    """

    task: Task
    codec: Codec
    settings: CodecSettings
    files: Files
    columns: dict[str, str]
    train: list[Example]
    eval: list[Example]
    test: list[Example]
    features: list[Feature]
    truncated: int = 0
    missed_words: int = 0
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """The task's kind."""
        return kind_of(self.task)

    @property
    def metric(self) -> str:
        """The score by which runs and checkpoints are compared; higher is better."""
        return self.codec.metric

    def constant_loss(self) -> float | None:
        """The mean training loss of the best constant answer; None where there is no such loss."""
        return self.kind.constant_loss(self.train, self.settings.target_range)

    @classmethod
    def load(
        cls, config: Mapping[str, Any], tokenizer: Tokenizer, positions: int, head: str
    ) -> TaskData:
        """Reads the training and evaluation examples of a configuration."""
        task, data = configured_task(config), config["data"]
        if task.trained_by:
            raise UserError(
                f"task={task.name} has no training data: train {task.trained_by}, then "
                f"`electra-jax evaluate --task={task.name}` with that model"
            )
        if data.get("header", "yes") == "no":
            task = without_header(task)
        files = find_files(task, data)
        missing = data.get("missing_labels", "skip")
        train: list[Any] = load_examples(task, files.train, data["columns"], missing=missing)
        labels = collect_labels(task, train)
        if data["train_examples"] is not None:
            train = train[: data["train_examples"]]
        settings = codec_settings(task, data, positions)
        train, settings = kind_of(task).prepare(task, files.train, train, settings)
        codec = make_codec(task, tokenizer, settings, labels, head)
        known = labels or None
        reports = [LabelReport(str(file)) for file in (files.eval, data["test_path"])]
        held_out, test = (
            load_examples(task, r.path, data["columns"], True, known, missing, r) if file else []
            for r, file in zip(reports, (files.eval, data["test_path"]), strict=True)
        )
        notes = tuple(note for report in reports for note in report.sentences())
        for note in notes:
            log.warning("%s", note)
        if files.eval and same_content(files.train, files.eval):
            log.warning(
                "%s and %s are the same: the scores will say nothing", files.train, files.eval
            )
        features = [f for example in codec.expand(train) for f in codec.encode(example, True)]
        if not features:
            raise UserError(f"{files.train}: none of its {len(train)} examples can be trained on")
        if lost := codec.lost_entities:
            log.warning(
                "%s: in %s texts the two entities do not fit into %d tokens together; one of them "
                "is cut away (a larger data.max_length keeps both)",
                files.train, f"{lost:,}", settings.max_length,
            )  # fmt: skip
        columns, unread = columns_of(task, files.train, data["columns"])
        return cls(
            task, codec, settings, files, columns, train, held_out, test, features,
            codec.truncated, codec.missed_words, unread, notes,
        )  # fmt: skip

    def describe(self) -> list[str]:
        """What was read, in lines for the terminal: columns, labels, what was cut."""
        lines = []
        if self.columns:
            read = ", ".join(f"{role} from {name}" for role, name in self.columns.items())
            lines.append(f"columns: {read}")
            if self.unread:
                more = " (data.columns.* names others)" if self.task.texts else ""
                lines.append(f"columns that are not read: {', '.join(self.unread)}{more}")
        if counts := Counter(name for e in self.train for name in self.kind.labels_of(e)):
            shown = [f"{name} {counts[name]:,}" for name in self.codec.labels if counts[name]]
            if len(shown) > _SHOWN_LABELS:
                shown = [f"{name} {count:,}" for name, count in counts.most_common(_SHOWN_LABELS)]
                shown.append(f"and {len(counts) - len(shown)} more")
            lines.append(f"labels ({len(counts)}) in training: {', '.join(shown)}")
        if self.truncated:
            words = f" ({self.missed_words:,} words of them are left out)"
            texts = "1 text is" if self.truncated == 1 else f"{self.truncated:,} texts are"
            lines.append(
                f"{texts} longer than data.max_length: cut" + words * bool(self.missed_words)
            )
        return lines
