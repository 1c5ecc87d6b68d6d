"""Task data as a stream of examples, from files and data sets, in constant memory.

Records (`records`) become the examples of a task. Whatever is wrong with the data is found here,
once, and named by file and line.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.entity_marks import mark_entities, mark_spans
from electra_jax.finetuning.examples import (
    ChoiceExample,
    Example,
    TaggedExample,
    TextExample,
)
from electra_jax.finetuning.records import (
    CONLL_FORMATS,
    TFDS_PREFIX,
    Record,
    format_of,
    read_conll,
    read_records,
    same_content,
)
from electra_jax.finetuning.spans import find_spans, write_tags
from electra_jax.finetuning.tasks import Task
from electra_jax.finetuning.words import split_words

_IDS = ("id", "idx", "index")  # columns that may name an example, the latter two GLUE's
_TEXTS = {1: "one text", 2: "two texts"}
_WORD_LISTS = ("tokens", "words", "form")  # their strings have a space between any two words

__all__ = [
    "TFDS_PREFIX",
    "check_labels",
    "check_roles",
    "columns_read",
    "example_of",
    "read_examples",
    "read_records",
    "same_content",
    "unknown_label",
]


def read_examples(
    task: Task,
    path: str | os.PathLike[str],
    columns: Mapping[str, str | None] | None = None,
    labelled: bool = True,
    labels: Collection[str] | None = None,
    usual: Mapping[str, str] | None = None,
) -> Iterator[Example]:
    """The examples of a file or a tfds data set, one after the other, in order.

    Their `id` is the record's own (column "id"), else its 0-based number.

    Args:
      task: its kind decides what is read, its names where.
      columns: `data.columns.*`: the columns of roles that are not to be guessed: text, text_pair,
        label, id; words, tags; context, question, choices (several columns: "a,b,c"); head, tail.
      labelled: False for data to predict: labels are neither needed nor read.
      labels: the known labels, for evaluation data; the table's where the task has them there.
      usual: the columns that a model was trained from, by role: taken where a file has them.

    Raises:
      UserError: whatever is wrong with the data; see the module. Questions and answers have their
        own reader.
    """
    path = os.fspath(path)
    chosen = {role: name for role, name in (columns or {}).items() if name is not None}
    check_roles(task, chosen)
    labels = labels if labels is not None else task.labels
    known = None if labels is None else frozenset(labels)
    if task.kind == "tagging" and format_of(path) in CONLL_FORMATS:
        records = read_conll(path, chosen, labelled)
        chosen = {}
    else:
        records = read_records(path, task.headerless)
    build = _BUILDERS[task.kind]
    source: _Source | None = None
    for number, (where, record) in enumerate(records):
        source = source or _Source(task, chosen, record, where, labelled, usual)
        example = build(source, where, source.identity(record, number), record)
        if known is not None:
            check_labels(example, known)
        yield example
    if source is None:
        raise UserError(f"{path}: there are no examples in it")


def example_of(
    task: Task,
    record: Record,
    where: str,
    number: int,
    columns: Mapping[str, str] | None = None,
    usual: Mapping[str, str] | None = None,
) -> Example:
    """One record without a label, read as a line of a file to predict is. Raises `UserError`."""
    source = _Source(task, columns or {}, record, where, False, usual)
    return _BUILDERS[task.kind](source, where, source.identity(record, number), record)


def columns_read(task: Task, path: str, columns: Mapping[str, str | None]) -> dict[str, str]:
    """The column of each role, as `read_examples` finds them; {} where files have no columns."""
    path = os.fspath(path)
    if task.kind == "question_answering" or format_of(path) in CONLL_FORMATS:
        return {}
    chosen = {role: name for role, name in columns.items() if name is not None}
    where, record = next(iter(read_records(path, task.headerless)))
    source = _Source(task, chosen, record, where, labelled=True)
    texts = dict(zip(("text", "text_pair"), source.texts, strict=False))
    return texts | {r: c for r, c in source.columns.items() if r not in ("id", *texts)}


def check_labels(example: Example, known: Collection[str]) -> None:
    """Raises UserError where the example has a label that is not among the `known` ones."""
    found: Sequence[str] = ()
    if isinstance(example, TextExample) and not isinstance(example.label, float | None):
        found = (example.label,) if isinstance(example.label, str) else example.label
    elif isinstance(example, TaggedExample):
        found = example.tags or ()
    for label in found:
        if label not in known:
            raise unknown_label(example.where, label, known)


def unknown_label(where: str, label: str, known: Collection[str]) -> UserError:
    """The error of a label that is not among the known ones."""
    names = sorted(known)
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")
    return UserError(
        f'{where}: unknown label "{label}"; the known labels are: {shown}. Mend the line, or name '
        "the right column with data.columns"
    )


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


class _Source:
    """Where a file holds what a task needs, found from its first record.

    `columns` are names by role; `texts` the columns of the text or the two texts.
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
                wanted = " or ".join(" + ".join(t) for t in sets)
                raise _missing(where, record, "text", wanted)
            if trained and len(found_texts) != len(trained):
                raise UserError(
                    f"{where}: the model was trained on {_TEXTS[len(trained)]} "
                    f"({', '.join(trained)}), and here {' and '.join(found_texts)} would be read "
                    f"(of {', '.join(map(str, record))}): name the texts as in training, or those "
                    f"of a file with --columns "
                    f"{' '.join(f'{r}=NAME' for r in ('text', 'text_pair') if r in usual)}"
                )
            self.texts = found_texts

    def identity(self, record: Record, number: int) -> str:
        """What a prediction is named by: the record's own id, or its number."""
        names = [self.columns["id"]] if "id" in self.columns else _IDS
        own = next((record[n] for n in names if isinstance(record.get(n), str | int)), number)
        return str(own)

    def value(self, role: str, where: str, record: Record) -> Any:
        """The record's value for a role that the task cannot do without."""
        if role not in self.columns:
            raise _missing(where, record, role, " or ".join(self.task.roles[role]))
        return _get(record, self.columns[role], role, where)


def _missing(where: str, record: Record, role: str, wanted: str) -> UserError:
    file = where.rpartition(":")[0]
    header = " (the first line names them)" if format_of(file) in ("tsv", "csv") else ""
    remedy = (
        f"name the right one, in training with --config.data.columns.{role}=NAME, else with "
        f"--columns {role}=NAME"
    )
    return UserError(
        f"{where} has no column for the {role.replace('_', ' ')} (looked for {wanted}); it has "
        f"{', '.join(map(str, record)) or 'none'}{header}: "
        + (remedy if file else "give it by that name")
    )


def _get(record: Record, column: str, role: str, where: str) -> Any:
    if column not in record:
        raise _missing(where, record, role, column)
    return record[column]


def _text(value: Any, column: str, where: str) -> str:
    """A text; a list of words is joined with spaces."""
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


def _texts(source: _Source, where: str, record: Record) -> tuple[str, ...]:
    return tuple(_text(_get(record, c, "text", where), c, where) for c in source.texts)


def _name(value: Any, source: _Source, where: str) -> str:
    """A label as a string: 1, 1.0 and "1" are one label, so are true and "true"."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    name = str(value).strip()
    number = isinstance(value, int | float) and math.isfinite(value)
    if not number and not (isinstance(value, str) and name):
        raise UserError(
            f"{where} has no label: {json.dumps(value, ensure_ascii=False)[:60]}; a label is a "
            "string or a number (data to predict needs none)"
        )
    return source.task.aliases.get(name, name)


def _label(source: _Source, where: str, record: Record) -> str | None:
    if not source.labelled:
        return None
    return _name(source.value("label", where, record), source, where)


def _classified(source: _Source, where: str, identity: str, record: Record) -> Example:
    texts = _texts(source, where, record)
    return TextExample(where, identity, texts, _label(source, where, record))


def _multilabelled(source: _Source, where: str, identity: str, record: Record) -> Example:
    """Labels are a list of names; in a table, names between commas."""
    texts = _texts(source, where, record)
    if not source.labelled:
        return TextExample(where, identity, texts)
    value = source.value("label", where, record)
    if isinstance(value, str):
        value = [name for name in map(str.strip, value.split(",")) if name]
    if not isinstance(value, list):
        raise UserError(
            f"{where}: labels must be a list of names, or names between commas; it holds "
            f"{json.dumps(value, ensure_ascii=False)[:60]}"
        )
    names = tuple(dict.fromkeys(_name(item, source, where) for item in value))
    return TextExample(where, identity, texts, names)


def _measured(source: _Source, where: str, identity: str, record: Record) -> Example:
    texts = _texts(source, where, record)
    if not source.labelled:
        return TextExample(where, identity, texts)
    value = source.value("label", where, record)
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f'{where}: the target in column "{source.columns["label"]}" is not a number: '
            f"{json.dumps(value, ensure_ascii=False)[:60]}"
        )
    return TextExample(where, identity, texts, number)


def _related(source: _Source, where: str, identity: str, record: Record) -> Example:
    (text,) = _texts(source, where, record)[:1]
    if "head" in source.columns or "tail" in source.columns:
        given = _get(record, source.texts[0], "text", where)
        words = given if isinstance(given, list) else None
        spans = [
            _span(source.value(r, where, record), r, text, where, words) for r in ("head", "tail")
        ]
        text = mark_spans(text, spans[0], spans[1])
    else:
        text = mark_entities(text, where)
    return TextExample(where, identity, (text,), _label(source, where, record))


def _span(
    value: Any, role: str, text: str, where: str, words: Sequence[str] | None
) -> tuple[int, int]:
    """[start, end) in characters, from [start, end] or an object with `span` or `start`, `end`;
    these count words where the text is a list of `words`."""
    unit, count = ("characters", len(text)) if words is None else ("words", len(words))
    span = value
    if isinstance(value, Mapping):
        span = value.get("span", [value.get("start"), value.get("end")])
    whole = isinstance(span, list) and len(span) == 2 and all(type(x) is int for x in span)
    if not whole or not 0 <= span[0] < span[1] <= count:
        raise UserError(
            f"{where}: {role} must have a span [start, end) of {unit} within the text "
            f"({count} {unit}); it holds {json.dumps(value, ensure_ascii=False)[:80]}"
        )
    start, end = span
    if words is not None:
        start, length = sum(len(w) + 1 for w in words[:start]), len(" ".join(words[start:end]))
        end = start + length
    inside = text[start:end]
    if isinstance(value, Mapping) and value.get("text", inside) != inside:
        raise UserError(
            f'{where}: {role} says "{value["text"]}", but {unit} {span[0]} to {span[1]} of the '
            f'text are "{inside}"; offsets count {unit} from 0'
        )
    return start, end


def _tagged(source: _Source, where: str, identity: str, record: Record) -> Example:
    column = source.columns.get("words", "")
    running = column not in _WORD_LISTS and source.columns.get("tags") not in record
    if not source.labelled and running and isinstance(record.get(column), str):
        text = _text(record[column], column, where)
        spans = tuple(split_words(text))
        return TaggedExample(where, identity, tuple(text[a:b] for a, b in spans), None, text, spans)
    words = _list(source.value("words", where, record), "words", where)
    if not any(word.strip() for word in words):
        raise UserError(f"{where}: there are no words; remove or mend the line")
    if not source.labelled:
        return TaggedExample(where, identity, words)
    tags = _list(source.value("tags", where, record), "tags", where)
    if len(words) != len(tags):
        raise UserError(
            f"{where} has {len(words)} words and {len(tags)} tags; each word needs one tag"
        )
    if not all(tag.strip() for tag in tags):
        empty = next(i for i, tag in enumerate(tags) if not tag.strip())
        raise UserError(f'{where}: the tag of word {empty} ("{words[empty]}") is empty; fill it')
    scheme = source.task.tag_scheme
    if scheme != "given":
        try:
            tags = tuple(write_tags(find_spans(tags), len(tags), scheme))
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    return TaggedExample(where, identity, words, tags)


def _list(value: Any, role: str, where: str) -> tuple[str, ...]:
    """A list of strings (numbers become strings), or a string of them with spaces between."""
    if isinstance(value, str):
        return tuple(re.findall(r"[^ \t\r\n]+", value))
    if not isinstance(value, list) or not all(type(item) in (str, int) for item in value):
        raise UserError(
            f"{where}: {role} must be a list of strings, or a string with spaces between them; it "
            f"holds {json.dumps(value, ensure_ascii=False)[:60]}"
        )
    return tuple(map(str, value))


def _with_choices(source: _Source, where: str, identity: str, record: Record) -> Example:
    contexts = [
        _turns(_get(record, source.columns[role], role, where), source.columns[role], where)
        for role in ("context", "question")
        if role in source.columns
    ]
    if not contexts:
        raise _missing(where, record, "context", "context or question")
    choices, names = _choices(source, where, record)
    label = _choice_label(source, where, record, choices, names) if source.labelled else None
    if source.task.kind == "ranking":
        contexts = ["\n".join(contexts)]
    return ChoiceExample(where, identity, contexts[0], choices, label, *contexts[1:])


def _turns(value: Any, column: str, where: str) -> str:
    """A text, or the turns of a dialogue with a line break between them."""
    if isinstance(value, list):
        if not value:
            raise UserError(f'{where}: column "{column}" has no turns; remove or mend the line')
        return "\n".join(" ".join(_text(turn, column, where).split()) for turn in value)
    return _text(value, column, where)


def _choices(
    source: _Source, where: str, record: Record
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The choices, and the names that labels may give them (A, B, … unless the data names them)."""
    names: Sequence[Any] = ()
    column = source.columns.get("choices", "")
    value: Any
    if "," in column and column not in record:
        value = [_get(record, name.strip(), "choices", where) for name in column.split(",")]
    else:
        value = source.value("choices", where, record)
    if isinstance(value, Mapping):
        names, value = value.get("label", ()), value.get("text")
    if not isinstance(value, list) or len(value) < 2:
        raise UserError(
            f"{where}: choices must be a list of at least two texts (columns of a table: "
            f"data.columns.choices=a,b,c); it holds {json.dumps(value, ensure_ascii=False)[:60]}"
        )
    if not all(isinstance(item, str) for item in value):
        raise UserError(f"{where}: each choice must be a string; they are {value!r:.60}")
    texts = tuple(value)  # published data has empty choices
    letters = [chr(ord("A") + i) for i in range(min(len(texts), 26))]
    return texts, tuple(map(str, names)) or tuple(letters)


def _choice_label(
    source: _Source, where: str, record: Record, choices: Sequence[str], names: Sequence[str]
) -> int:
    """An index from 0, the name of a choice, or the choice itself."""
    value = source.value("label", where, record)
    if type(value) in (str, int) and str(value) in names:
        return names.index(str(value))
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(value, str) and choices.count(value) == 1:
        if number in range(len(choices)) and choices[number] != value:
            raise UserError(
                f'{where}: the label "{value}" may be the choice "{value}" or the one of that '
                f'index, "{choices[number]}"; give the letter ({", ".join(names)})'
            )
        return choices.index(value)
    if type(number) is not int:
        raise UserError(
            f"{where}: the label {json.dumps(value, ensure_ascii=False)[:60]} is no choice; give "
            f"its index (0 to {len(choices) - 1}), its letter or its text"
        )
    if not 0 <= number < len(choices):
        raise UserError(
            f"{where}: the label {number} is out of range; there are {len(choices)} choices, "
            f"numbered 0 to {len(choices) - 1}"
        )
    return number


_BUILDERS: dict[str, Callable[[_Source, str, str, Record], Example]] = {
    "classification": _classified,
    "multilabel": _multilabelled,
    "regression": _measured,
    "relation": _related,
    "tagging": _tagged,
    "multiple_choice": _with_choices,
    "ranking": _with_choices,
}
