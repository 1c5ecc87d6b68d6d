"""Sentences from files with a word on each line and columns beside it (CoNLL)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from electra_jax.errors import UserError
from electra_jax.finetuning.data.notes import note
from electra_jax.finetuning.data.records import Record, format_of, read_lines

_SURE = 50  # lines of words by which columns are told from running text
_TAG = re.compile(r"O|[BIESMLU]-\S+|[^a-z\s]{1,8}|_")  # where the tags of a model are not known


class _Line(NamedTuple):
    """A line that is not blank: its number, text and columns."""

    number: int
    text: str
    fields: list[str]


class _Shape(NamedTuple):
    """What lines of words have: the number of columns (0: not known) and tabs between them."""

    width: int
    tabs: bool


def read_conll(
    path: str,
    columns: Mapping[str, str],
    labelled: bool,
    known_tags: Collection[str] | None = None,
) -> Iterator[tuple[str, Record]]:
    """(where, {"words", "tags"}) of each sentence: a word a line, a blank line between sentences.

    Columns are separated by tabs, or else by spaces (other white space belongs to words, as the
    full-width space of Chinese), and are numbered from 0, or from -1 for the last one backwards.
    -DOCSTART- lines are skipped, and so are comments: lines that begin with "#" and have another
    number of columns than words have, or a space in the first of columns between tabs. In .conllu
    all lines with "#" are comments, and word ranges and empty words are skipped.

    Args:
      columns: `words` and `tags` as numbers; by default the first and the last.
      known_tags: without labels, the tags of the model: where the last of several columns holds
        none of them, the file is running text.

    Raises:
      UserError: a line without the columns, or with another number of them than those before it;
        running text in place of columns.
    """
    universal = format_of(path) == "conllu"
    word_column = _column_number(columns.get("words", "1" if universal else "0"), "words")
    tag_column = _column_number(columns.get("tags", "3" if universal else "-1"), "tags")
    needed = [word_column, tag_column] if labelled else [word_column]
    least = max(2 * labelled, *(c + 1 if c >= 0 else -c for c in needed))
    lines = _words_alone(path, universal)
    if not labelled and not universal and "words" not in columns:
        lines = _no_running_text(path, lines, tag_column, known_tags)
    words: list[str] = []
    tags: list[str] = []
    first = width = width_at = 0
    for line in lines:
        if line is None:
            if words:
                yield f"{path}:{first}", sentence(words, tags, labelled)
                words, tags = [], []
            continue
        where, fields = f"{path}:{line.number}", line.fields
        first = first if words else line.number
        if len(fields) < least:
            raise UserError(
                f"{where} has {len(fields)} columns ({line.text[:60]!r}); words are read from "
                f"column {word_column}"
                + (f" and tags from column {tag_column}" if labelled else "")
                + "; name other ones with data.columns.words and data.columns.tags"
            )
        width, width_at = width or len(fields), width_at or line.number
        if len(fields) != width and not columns:
            raise UserError(
                f"{where} has {len(fields)} columns ({line.text[:60]!r}), and line {width_at} has "
                f"{width}; a word to tag stands on a line of its own with the same columns on each "
                "(name those to read with data.columns.words and data.columns.tags)"
            )
        words.append(fields[word_column])
        if labelled:
            tags.append(fields[tag_column].strip())
            if not tags[-1]:
                raise UserError(
                    f"{where}: the tag in column {tag_column} is empty ({line.text[:60]!r}); "
                    "fill it, or name another column with data.columns.tags"
                )
    if words:
        yield f"{path}:{first}", sentence(words, tags, labelled)


def sentence(words: list[str], tags: list[str], labelled: bool) -> Record:
    """A sentence's record, with its tags where it is `labelled`."""
    return {"words": words, "tags": tags} if labelled else {"words": words}


def _words_alone(path: str, universal: bool) -> Iterator[_Line | None]:
    """The lines of words, and None for the end of a sentence; comments are left out and said.

    Lines that begin with "#" are held back until the next one shows how many columns words have.
    """
    held: list[_Line] = []
    shape = _Shape(0, False)
    comments = 0
    inside = False  # a sentence

    def decided() -> Iterator[_Line]:
        nonlocal comments
        for line in held:
            if _is_comment(line, shape):
                if not comments and not universal:
                    note(
                        f"{path}: lines as {line.text[:40]!r} (line {line.number}) are read as "
                        "comments"
                    )
                comments += 1
            else:
                yield line
        held.clear()

    for number, text in read_lines(path):
        if not text.strip(" \t"):
            yield from decided()
            yield None
            inside = False
            continue
        line = _Line(number, text, _fields(text))
        if line.fields[0] == "-DOCSTART-":
            continue
        if universal:
            if not text.startswith("#") and line.fields[0].isdigit():
                yield line
            continue
        if text.startswith("#") and (not inside or _is_comment(line, shape)):
            held.append(line)
            continue
        shape = shape if shape.width else _Shape(len(line.fields), "\t" in text)
        yield from decided()
        yield line
        inside = True
    yield from decided()


def _is_comment(line: _Line, shape: _Shape) -> bool:
    """Whether a line with "#" is not one of a word."""
    tabs = "\t" in line.text
    if tabs and " " in line.fields[0].strip():
        return True
    return bool(shape.width) and shape != (len(line.fields), tabs)


def _fields(text: str) -> list[str]:
    return text.split("\t") if "\t" in text else [field for field in text.split(" ") if field]


def _no_running_text(
    path: str, lines: Iterator[_Line | None], tag_column: int, known_tags: Collection[str] | None
) -> Iterator[_Line | None]:
    """The lines, unless the first of them show no tags in the last of several columns."""
    seen: list[_Line | None] = []
    words: list[_Line] = []
    for line in lines:
        seen.append(line)
        words += [line] if line is not None else []
        if len(words) == _SURE:
            break
    several = [line for line in words if len(line.fields) > 1]
    if several:
        widths = {len(line.fields) for line in words}
        tags = [line.fields[tag_column] for line in several if -tag_column <= len(line.fields)]
        found = sum(_is_tag(tag.strip(), known_tags) for tag in tags)
        if len(widths) > 1 or 2 * found < len(words):
            raise UserError(
                f"{path}:{several[0].number}: words to tag are read from columns, a word a line, "
                "the same number on each, with tags in the last of several; running text goes into "
                'a .jsonl: {"text": "…"} (columns without tags: name that of the words with '
                "--columns words=0)"
            )
        note(f"{path}: words are read from column 0 of {widths.pop()} columns")
    yield from seen
    yield from lines


def _is_tag(text: str, known_tags: Collection[str] | None) -> bool:
    return text in known_tags if known_tags else bool(_TAG.fullmatch(text))


def _column_number(value: str, role: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UserError(
            f"data.columns.{role}={value}: columns of a CoNLL file are named by number, from 0 (or "
            "-1 for the last one backwards)"
        ) from None
