"""The columns of records that a task reads, and their values.

Errors in a record are `UserError`s that name file and line.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.data.notes import note
from electra_jax.finetuning.data.records import TABLES, Record, format_of
from electra_jax.finetuning.data.values import (
    list_of,
    looks_like_list,
    missing_label,
    name_of,
)
from electra_jax.finetuning.task import Task

IDS = ("id", "idx", "index")  # columns that may name an example, the latter two GLUE's
_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
_TEXTS = {1: "one text", 2: "two texts"}


class Source:
    """The columns of a file that a task reads, found from its first record.

    `columns` are names by role; `texts` the columns of the text or the two texts; `table` whether
    the file is a .tsv or .csv, whose values have no types.
    """

    def __init__(
        self,
        task: Task,
        chosen: Mapping[str, str],
        record: Record,
        where: str,
        labelled: bool,
        usual: Mapping[str, str] | None = None,
    ):
        usual = usual or {}
        self.task = task
        self.labelled = labelled
        self._chosen = frozenset(chosen)
        self._names = set(record)
        self.pairs_are_some = False  # of a file whose first line has one text
        self.separator: tuple[str, str] | None = None  # of labels, and where it was met first
        self.padded = False  # whether a list of labels had missing ones
        self.table = format_of(where.rpartition(":")[0]) in TABLES
        self.columns = dict(chosen)
        for role, names in task.roles.items():
            if role not in chosen:
                names = (usual[role], *names) if role in usual else names
                found = next((name for name in names if name in record), None)
                if found is not None:
                    self.columns[role] = found
        self.texts: tuple[str, ...] = ()
        if "text" in chosen:
            self.texts = tuple(chosen[r] for r in ("text", "text_pair") if r in chosen)
        elif task.texts:
            trained = tuple(usual[r] for r in ("text", "text_pair") if r in usual)
            sets = tuple(dict.fromkeys((trained, *task.texts))) if trained else task.texts
            found_texts = next((t for t in sets if all(c in record for c in t)), None)
            if found_texts is None:
                names_of_sets = " or ".join(" + ".join(t) for t in sets)
                raise no_column(where, record, "text", names_of_sets)
            if trained and len(found_texts) != len(trained):
                raise UserError(
                    f"{where}: the model was trained on {_TEXTS[len(trained)]} "
                    f"({', '.join(trained)}), and here {' and '.join(found_texts)} would be read "
                    f"(of {', '.join(map(str, record))}): name the texts as in training, or those "
                    f"of a file with --columns "
                    f"{' '.join(f'{r}=NAME' for r in ('text', 'text_pair') if r in usual)}"
                )
            self.texts = found_texts

    def see(self, record: Record, where: str) -> None:
        """Looks for columns that records before this one did not have: a second text, where the
        task has texts and pairs, and roles that not every record plays."""
        if record.keys() <= self._names:
            return
        self._names |= record.keys()
        for role, names in self.task.roles.items():
            if role not in self.columns:
                found = next((name for name in names if name in record), None)
                if found is not None:
                    self.columns[role] = found
        if len(self.texts) == 1 and "text" not in self._chosen:
            pairs = [t for t in self.task.texts if len(t) == 2 and all(c in record for c in t)]
            pair = next((t for t in pairs if t[0] == self.texts[0]), None)
            if pair is None and pairs:
                raise UserError(
                    f"{where} has {' and '.join(pairs[0])}, where {self.texts[0]} alone is read "
                    "before it; name the texts with data.columns.text and data.columns.text_pair"
                )
            if pair is not None:
                note(f"{where} has a second text, {pair[1]}, which lines before it lack")
                self.texts, self.pairs_are_some = pair, True

    def identity(self, record: Record, number: int) -> str:
        """The prediction's id: the record's own, or its number."""
        names = [self.columns["id"]] if "id" in self.columns else IDS
        own = next((record[n] for n in names if isinstance(record.get(n), str | int)), number)
        return str(own)

    def plays(self, role: str, record: Record) -> bool:
        """Whether the record has a column for a role that not every record plays."""
        return role in self.columns and (role in self._chosen or self.columns[role] in record)

    def value(self, role: str, where: str, record: Record) -> Any:
        """The record's value for a required role."""
        if role not in self.columns:
            raise no_column(where, record, role, " or ".join(self.task.roles[role]))
        return value_of(record, self.columns[role], role, where)


def check_roles(task: Task, chosen: Mapping[str, str]) -> None:
    """Raises UserError where `data.columns` name a role that the task does not have."""
    for role in chosen:
        if role not in task.column_roles:
            raise UserError(
                f"data.columns.{role}: the task {task.name} has no such column; it has "
                f"{', '.join(task.column_roles)}"
            )
    if "text_pair" in chosen and "text" not in chosen:
        raise UserError(
            f"data.columns.text_pair={chosen['text_pair']}: name the first text's column too, with "
            "data.columns.text"
        )


def no_column(where: str, record: Record, role: str, names: str) -> UserError:
    """The error of a record without a column for a role, which was looked for under `names`."""
    file = where.rpartition(":")[0]
    table = format_of(file) in TABLES
    header = " (the first line names them)" if table else ""
    remedy = (
        f"name the right one, in training with --config.data.columns.{role}=NAME, else with "
        f"--columns {role}=NAME"
    )
    only = str(next(iter(record))) if table and len(record) == 1 else ""
    if other := next((name for sign, name in _SEPARATORS.items() if sign in only), None):
        remedy = (
            f"its cells are separated by {other}: write it with commas as a .csv, or with tabs as "
            "a .tsv"
        )
    elif table:
        remedy += (
            ", or, if the first line is data, add a header line or give --config.data.header=no "
            f"and columns by number ({role}=0)"
        )
    return UserError(
        f"{where} has no column for the {role.replace('_', ' ')} (looked for {names}); it has "
        f"{', '.join(_short(str(name)) for name in record) or 'none'}{header}: "
        + (remedy if file else "give it by that name")
    )


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:40]}…"


def value_of(record: Record, column: str, role: str, where: str) -> Any:
    """The value of a required column."""
    if column not in record:
        raise no_column(where, record, role, column)
    return record[column]


def text_of(value: Any, column: str, where: str) -> str:
    """A text; a list of words is joined with spaces, in a table too."""
    if column in ("tokens", "words"):
        value = list_of(value, column, where)
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        value = " ".join(value)
    if not isinstance(value, str):
        raise UserError(
            f'{where}: column "{column}" holds {json.dumps(value, ensure_ascii=False)[:60]}, not a '
            "text; put a string there"
        )
    if not value.strip():
        raise UserError(f'{where}: the text in column "{column}" is empty; remove or mend the line')
    return value


def texts_of(source: Source, where: str, record: Record) -> tuple[str, ...]:
    """The text or the two texts of a record; in a file of texts and pairs, the second may be empty
    or not there."""
    columns = source.texts
    if source.pairs_are_some and record.get(columns[1]) in (None, ""):
        columns = columns[:1]
    return tuple(text_of(value_of(record, c, "text", where), c, where) for c in columns)


def label_name(value: Any, source: Source, where: str) -> str:
    """A label as a string (`values.name_of`), `Missing` where the value says that there is none."""
    if (missing := missing_label(value)) is not None and missing not in (source.task.labels or ()):
        return missing
    name = name_of(value, source.table)
    if name is None or looks_like_list(value):
        several = "; several labels are the task multilabel"
        raise UserError(
            f"{where}: the label is {json.dumps(value, ensure_ascii=False)[:60]}; a label is a "
            "string or a number" + several * (isinstance(value, list) or looks_like_list(value))
        )
    return source.task.aliases.get(name, name)


def label_of(source: Source, where: str, record: Record) -> str | None:
    """The name of a record's label (see `label_name`); None for data to predict."""
    if not source.labelled:
        return None
    return label_name(source.value("label", where, record), source, where)


def unknown_label(where: str, label: str, known: Collection[str]) -> UserError:
    """The error of a label that is not among the known ones."""
    names = sorted(known)
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    return UserError(
        f'{where}: unknown label "{label}"; the known labels are: {shown}. Mend the line, or name '
        "the right column with data.columns"
    )
