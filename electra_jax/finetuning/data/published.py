"""Records of published data sets in the plain form that the kinds of tasks read.

COPA, CommonsenseQA and ARC as they are published, TACRED, FewRel, spans of characters as doccano
exports them, Kaggle's NER.csv.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from electra_jax.errors import UserError
from electra_jax.finetuning.data.words import split_words

Record = dict[str, Any]
_COPA = {"cause": "What was the cause?", "effect": "What happened as a result?"}
_SENTENCE = "Sentence #"  # Kaggle's NER.csv: filled in where a sentence begins


def plain_record(record: Record) -> Record:
    """The record in the plain form where it has the shape of a published one, else as it is."""
    question = record.get("question")
    if isinstance(question, Mapping) and "stem" in question:  # CommonsenseQA, ARC
        record = {**record, "question": question["stem"], "choices": question.get("choices")}
    elif (
        isinstance(question, str)
        and question in _COPA
        and {"premise", "choice1", "choice2"} <= record.keys()
    ):
        choices = [record["choice1"], record["choice2"]]
        context = {"context": record["premise"], "question": _COPA[str(question)]}
        record = {**record, **context, "choices": choices}
    offered = record.get("choices")
    if isinstance(offered, list) and offered and all(map(_is_named_choice, offered)):
        named = {key: [choice[key] for choice in offered] for key in ("text", "label")}
        record = {**record, "choices": named}
    if {"token", "subj_start", "subj_end", "obj_start", "obj_end"} <= record.keys():  # TACRED
        ends = {r: [record[f"{n}_start"], record[f"{n}_end"] + 1] for r, n in _TACRED.items()}
        record = {**record, "tokens": record["token"], **ends}
    if "tokens" in record and _is_mention(record.get("h")) and _is_mention(record.get("t")):
        spans = {r: record[n][2][0] for r, n in (("head", "h"), ("tail", "t"))}  # FewRel
        record = {**record, **{r: [s[0], s[-1] + 1] for r, s in spans.items()}}
    return record


_TACRED = {"head": "subj", "tail": "obj"}


def _is_named_choice(choice: Any) -> bool:
    return isinstance(choice, Mapping) and {"text", "label"} <= choice.keys()


def _is_mention(value: Any) -> bool:
    """[name, id, [[first word, …, last word], …]]."""
    return isinstance(value, list) and len(value) == 3 and bool(value[2]) and value[2] != ""


def records_by_relation(content: Mapping[str, Any], path: str) -> Iterator[tuple[str, Record]]:
    """FewRel's file: lists of records by relation. Raises `UserError` on another object."""
    for relation, records in content.items():
        if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
            raise UserError(
                f"{path}: task data in .json is a list of records (or such lists by relation); "
                f'"{relation}" holds none: one record a line in a .jsonl is read too'
            )
        for i, record in enumerate(records):
            yield f"{path}: {relation}[{i}]", Record([("relation", relation)], **record)


def sentences_of_rows(
    records: Iterator[tuple[str, Record]], labelled: bool
) -> Iterator[tuple[str, Record]]:
    """Sentences from the rows of Kaggle's NER.csv, a word each; other records as they are."""
    first = next(records, None)
    if first is None or not {_SENTENCE, "Word"} <= first[1].keys():
        yield from records if first is None else itertools.chain([first], records)
        return
    where, sentence = first[0], Record(tokens=[], tags=[])
    for place, row in itertools.chain([first], records):
        if (error := getattr(row, "error", None)) is not None:
            raise error
        if row[_SENTENCE].strip() and sentence["tokens"]:
            yield where, sentence
            where, sentence = place, Record(tokens=[], tags=[])
        sentence["tokens"].append(row["Word"])
        if labelled:
            sentence["tags"].append(row.get("Tag", ""))
    yield where, sentence


def tagged_spans(record: Record, where: str, labelled: bool) -> Record:
    """Words and BIO tags of a text with [start, end, type] spans of characters, as doccano exports
    them; other records as they are. Words end where a span does. Without labels, the text.

    Raises:
      UserError: spans that overlap or leave the text.
    """
    found = next(
        (n for n in ("label", "labels", "entities", "spans") if _are_spans(record.get(n))), None
    )
    text = record.get("text", record.get("data"))
    if found is None or not isinstance(text, str):
        return record
    rest = {name: value for name, value in record.items() if name not in (found, "text", "data")}
    if not labelled:
        return {**rest, "text": text}
    spans = sorted(span for item in record[found] if (span := _span(item)))
    edges = [0, *(edge for start, end, _ in spans for edge in (start, end)), len(text)]
    if edges != sorted(edges) or any(start == end for start, end, _ in spans):
        raise UserError(
            f"{where}: {found} hold spans that overlap, are empty or leave the text "
            f"({len(text)} characters): {str(spans)[:60]}"
        )
    words: list[str] = []
    tags: list[str] = []
    names = {start: name for start, _, name in spans}
    for start, end in itertools.pairwise(edges):
        pieces = [text[start:end][a:b] for a, b in split_words(text[start:end])]
        words += pieces
        inside = names.get(start) if start < end else None
        tags += [f"{'I' if i else 'B'}-{inside}" if inside else "O" for i in range(len(pieces))]
    return {**rest, "tokens": words, "tags": tags}


def _are_spans(value: Any) -> bool:
    return isinstance(value, list) and all(_span(item) for item in value)


def _span(value: Any) -> tuple[int, int, str] | None:
    if isinstance(value, Mapping):
        names = (("start_offset", "end_offset", "label"), ("start", "end", "label"))
        keys = next((k for k in names if set(k) <= value.keys()), ())
        value = [value[k] for k in keys]
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        return None
    start, end, name = value
    return (start, end, name) if type(start) is type(end) is int and isinstance(name, str) else None
