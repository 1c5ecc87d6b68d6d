"""Questions and answers from files: SQuAD's JSON, MRQA's lines, and flat or grouped lines.

Whatever the file, a record is an article ("paragraphs"), a paragraph ("context" and "qas"), or a
question of its own ("question" and "context"). Answers are a list of {"text", "answer_start"}
("start" does too), a dict of two lists {"text": [...], "answer_start": [...]}, or a list of texts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import BadExample, Example, QuestionExample
from electra_jax.finetuning.data.records import (
    BadRecord,
    Record,
    format_of,
    open_bytes,
    read_records,
    well_formed_json,
)
from electra_jax.finetuning.data.values import structure_of

UNKNOWN_PLACE = -1
"""The offset of an answer that the file gives without one; its text still counts as gold."""

_IDS = ("id", "qid")
_STARTS = ("answer_start", "start")


def read_questions(
    path: str | os.PathLike[str],
    labelled: bool = True,
    columns: Mapping[str, str | None] | None = None,
    lenient: bool = False,
) -> Iterator[Example]:
    """The questions of a file or a tfds data set, one after the other, in order.

    A .json file (SQuAD's) is read whole, all others record by record; each may end in .gz. `where`
    is "file:line", in .json files "file: data[0].paragraphs[2].qas[1]". A question without an id
    is named by its number from 0. One without answers is impossible. Of MRQA's, the places come
    from "detected_answers" and the texts of "answers" follow with UNKNOWN_PLACE.

    Args:
      labelled: False for questions to answer: answers are neither needed nor read.
      columns: other names of question, context, answers and id.
      lenient: a line or question that is wrong becomes a `BadExample` in its place.

    Raises:
      UserError: a file of another kind, not JSON, a missing field, one of a wrong type, an empty
        text; named by file and line.
    """
    path = os.fspath(path)
    records = _read_json(path) if format_of(path) == "json" else read_records(path, lenient=lenient)
    names = _names(columns)
    number = 0
    for where, record in records:
        if "header" in record and names["context"] not in record:  # MRQA's first line
            continue
        try:
            if isinstance(record, BadRecord):
                raise record.error
            found = list(_questions(record, where))
        except UserError as error:
            if not lenient:
                raise
            yield BadExample(where, str(number), error)
            number += 1
            continue
        for place, context, question in found:
            try:
                yield _example(place, number, context, question, labelled, names)
            except UserError as error:
                if not lenient:
                    raise
                yield BadExample(place, str(number), error)
            number += 1


def question_of(
    record: Record, where: str, number: int, columns: Mapping[str, str | None] | None = None
) -> QuestionExample:
    """One question to answer, as a line of a file has it. Raises `UserError`."""
    return _example(where, number, record, record, False, _names(columns))


def _names(columns: Mapping[str, str | None] | None) -> dict[str, str]:
    names = {role: role for role in ("question", "context", "answers")}
    return names | {role: name for role, name in (columns or {}).items() if name is not None}


def _read_json(path: str) -> Iterator[tuple[str, Record]]:
    with open_bytes(path) as stream:
        content = stream.read()
    try:
        whole = json.loads(content)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start}); convert the file to UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        reason = getattr(error, "msg", "nested too deeply")
        advice = "; a file with one JSON object a line must be named .jsonl"
        raise UserError(
            f"{path}:{line} is not JSON ({reason})" + advice * (reason == "Extra data")
        ) from None
    if b"\\u" in content:
        whole = well_formed_json(whole)
    name = "data" if isinstance(whole, dict) else ""
    records = _get(whole, ("data",), path) if isinstance(whole, dict) else whole
    yield from _items(records, name, f"{path}: ")


def _questions(record: Record, where: str) -> Iterator[tuple[str, Record, Record]]:
    """(where, the record with the context, the record with the question) of each question."""
    if "paragraphs" in record:
        for place, paragraph in _items(record["paragraphs"], "paragraphs", _inside(where)):
            yield from _questions(paragraph, place)
    elif "qas" in record:
        for place, question in _items(record["qas"], "qas", _inside(where)):
            yield place, record, question
    else:
        yield where, record, record


def _inside(where: str) -> str:
    """What a place inside a record is named after: JSON paths go on, lines are enough."""
    return f"{where}." if where.endswith("]") else f"{where}, "


def _items(value: Any, name: str, prefix: str) -> Iterator[tuple[str, Record]]:
    if not isinstance(value, list):
        raise UserError(f"{prefix}{name or 'the file'} holds {_shown(value)}, not a list")
    for i, item in enumerate(value):
        where = f"{prefix}{name}[{i}]"
        if not isinstance(item, dict):
            raise UserError(f"{where} holds {_shown(item)}, not a JSON object")
        yield where, item


def _example(
    where: str,
    number: int,
    context: Record,
    question: Record,
    labelled: bool,
    names: Mapping[str, str],
) -> QuestionExample:
    for role, record in (("question", question), ("context", context), ("answers", question)):
        if names[role] not in record and (labelled or role != "answers"):
            found = ", ".join(map(str, record)) or "nothing"
            raise UserError(
                f'{where} has no "{names[role]}"; it has {found}: give it, or name the right '
                f"column of a file, in training with --config.data.columns.{role}=NAME, else with "
                f"--columns {role}=NAME"
            )
    ids = (names["id"],) if "id" in names else _IDS
    own = next((question[name] for name in ids if name in question), None)
    answers: tuple[tuple[str, int], ...] = ()
    is_impossible = False
    if labelled:
        answers = tuple(_answers(question, names["answers"], where))
        is_impossible = question.get("is_impossible", not answers)
        if not isinstance(is_impossible, bool):
            raise UserError(
                f'{where}: "is_impossible" holds {_shown(is_impossible)}, not true or false'
            )
        if not answers and not is_impossible:
            raise UserError(
                f'{where}: there is no answer, but "is_impossible" is false; give an answer or set '
                "it to true"
            )
    return QuestionExample(
        where=where,
        id=str(own) if isinstance(own, str | int) else str(number),
        question=_text(question, (names["question"],), where),
        context=_text(context, (names["context"],), where),
        answers=answers,
        is_impossible=is_impossible,
    )


def _answers(question: Record, column: str, where: str) -> Iterator[tuple[str, int]]:
    for i, detected in enumerate(question.get("detected_answers", ())):
        inside = f"{where}, detected_answers[{i}]"
        spans = _get(detected, ("char_spans",), inside)
        try:
            start = spans[0][0]
        except (TypeError, LookupError):
            raise UserError(
                f'{inside}: "char_spans" holds {_shown(spans)}, not [[first, last], …]'
            ) from None
        yield _text(detected, ("text",), inside), _offset(start, inside)
    answers = structure_of(_get(question, (column,), where))
    if isinstance(answers, dict):
        answers = _columns_as_list(answers, where)
    if not isinstance(answers, list):
        raise UserError(f'{where}: "{column}" holds {_shown(answers)}, not a list')
    for i, answer in enumerate(answers):
        inside = f"{where}, {column}[{i}]"
        if isinstance(answer, str):
            yield _text({"text": answer}, ("text",), inside), UNKNOWN_PLACE
        else:
            start = _offset(_get(answer, _STARTS, inside), inside)
            yield _text(answer, ("text",), inside), start


def _columns_as_list(answers: Record, where: str) -> list[Record]:
    inside = f"{where}, answers"
    texts, starts = _get(answers, ("text",), inside), _get(answers, _STARTS, inside)
    if isinstance(texts, str):
        texts, starts = [texts], [starts]
    if not (isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)):
        raise UserError(f'{inside}: "text" and "answer_start" must be lists of one length')
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts)]


def _offset(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(
            f"{where}: the answer's offset is {_shown(value)}, not a whole number of characters"
        )
    return max(value, UNKNOWN_PLACE)


def _text(record: Any, names: tuple[str, ...], where: str) -> str:
    value = _get(record, names, where)
    if not isinstance(value, str):
        raise UserError(f'{where}: "{names[0]}" holds {_shown(value)}, not a text')
    if not value.strip():
        raise UserError(
            f'{where}: "{names[0]}" is empty; fill it or take the question out (a question without '
            'an answer has "answers": [])'
        )
    return value


def _get(record: Any, names: tuple[str, ...], where: str) -> Any:
    if not isinstance(record, Mapping):
        raise UserError(f"{where} holds {_shown(record)}, not a JSON object")
    for name in names:
        if name in record:
            return record[name]
    raise UserError(
        f'{where} has no "{names[0]}"; it has {", ".join(map(str, record)) or "nothing"}'
    )


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]
