"""Documents as bytes, and how they are told apart in .txt and .jsonl files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from electra_jax.errors import UserError
from electra_jax.text.lines import Stream, json_value, numbered_lines
from electra_jax.text.unicode import well_formed

LINE_LIMIT = 10 * 2**20
"""Longest line that is read, in bytes. A longer one is a file without line breaks, not text."""

DOCUMENT_LIMIT = 4 * 2**20
"""A .txt document longer than this (bytes) is continued as a new document at the next line, so
that a file without blank lines needs no more memory than any other."""

BLANK_LINES, LINES, FILES = "blank_lines", "lines", "files"
"""How documents of .txt files are told apart: blank lines between them, one a line, one a file."""

TEXT_FIELD = "text"
_TOO_LONG = "break the text into lines (paragraphs or sentences)"


@dataclass(frozen=True)
class RawDocument:
    """One document as bytes, with the place it came from (for error messages).

    `line` counts from 1 and `offset` (bytes) from 0; both refer to the decompressed text. Of a
    .jsonl the bytes are a whole line, and `field` names the text in it; "value" is a text as it
    is, in which any character may occur.
    """

    source: str
    format: str  # "txt", "jsonl", "cell" (of a table) or "value" (of a data set)
    line: int
    offset: int
    data: bytes
    field: str = TEXT_FIELD

    def lines(self) -> list[str]:
        """The document's non-empty lines, stripped. Raises UserError where it is not text."""
        text = self._decode()
        if self.format == "jsonl":
            text = self._text_field(text)
        return [line for line in map(str.strip, text.split("\n")) if line]

    def _decode(self) -> str:
        zero = self.data.find(b"\0")
        try:
            text = self.data.decode("utf-8")
        except UnicodeDecodeError as error:
            if zero < 0 or error.start < zero:
                raise UserError(
                    f"{self.source} is not UTF-8 text: {self._byte(error.start)} is "
                    f"0x{self.data[error.start]:02x} (line {self._line_of(error.start)}); "
                    "convert it to UTF-8 or leave it out"
                ) from None
        if zero >= 0 and self.format != "value":
            raise UserError(
                f"{self.source} is a binary file: {self._byte(zero)} is 0x00 "
                f"(line {self._line_of(zero)}); give text files only"
            )
        return text

    def _byte(self, position: int) -> str:
        if self.format == "cell":  # its place in the file is not known
            return "a byte"
        return f"byte {self.offset + position}"

    def _line_of(self, position: int) -> int:
        return self.line + self.data.count(b"\n", 0, position)

    def _text_field(self, text: str) -> str:
        place = f"{self.source}:{self.line}"
        record = json_value(text, place)
        if not isinstance(record, dict) or not isinstance(record.get(self.field), str):
            found = ", ".join(record) if isinstance(record, dict) else text.strip()[:40]
            raise UserError(
                f'{place} has no string field "{self.field}" (found: {found or "no fields"})'
                + ("; --field=NAME names the one with the text" if isinstance(record, dict) else "")
            )
        value = record[self.field]
        return well_formed(value) if "\\u" in text else value


def read_txt(path: str, stream: Stream, separation: str) -> Iterator[RawDocument]:
    """The documents of a .txt file; `separation` is one of BLANK_LINES, LINES and FILES."""
    lines: list[bytes] = []
    size = first = begin = 0
    for number, offset, line in numbered_lines(path, stream, LINE_LIMIT, _TOO_LONG):
        blank = is_blank(line)
        ends = separation == LINES or (blank and separation == BLANK_LINES)
        if lines and (ends or size + len(line) > DOCUMENT_LIMIT):
            yield RawDocument(path, "txt", first, begin, b"".join(lines))
            lines, size = [], 0
        if not blank:
            if not lines:
                first, begin = number, offset
            lines.append(line)
            size += len(line)
        elif lines:  # within a file's one document; line numbers of errors stay right
            lines.append(b"\n")
    if lines:
        yield RawDocument(path, "txt", first, begin, b"".join(lines))


def read_jsonl(path: str, stream: Stream, field: str) -> Iterator[RawDocument]:
    """One document a line that is not blank."""
    for number, offset, line in numbered_lines(path, stream, LINE_LIMIT, _TOO_LONG):
        if line.strip():
            yield RawDocument(path, "jsonl", number, offset, line, field)


def is_blank(line: bytes) -> bool:
    """Whether a line holds no text."""
    if not line.strip():
        return True
    # A line may hold nothing but wide or no-break spaces; such a line is short.
    return len(line) <= 64 and line[0] >= 0x80 and not line.decode("utf-8", "replace").strip()
