"""Texts in a column of a table: .csv, .tsv and .parquet."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Any

from electra_jax.errors import UserError
from electra_jax.text.documents import LINE_LIMIT, TEXT_FIELD, RawDocument
from electra_jax.text.lines import Stream, numbered_lines

_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_BATCH = 512  # rows of a Parquet file that are in memory at once


def read_table(path: str, stream: Stream, kind: str, field: str | None) -> Iterator[RawDocument]:
    """The texts of one column of a .csv or .tsv whose first line names the columns.

    A .csv is separated by commas, or by semicolons where its header has no comma; cells may be
    quoted and hold line ends. A .tsv has a row a line; cells that are quoted as a whole, as pandas
    writes them, are unquoted.

    Args:
      field: name of the column; None: `text`, or the only column.

    Raises:
      UserError: no such column, or a row with another number of columns than the header.
    """
    rows = _csv_rows(path, stream) if kind == "csv" else _tsv_rows(path, stream)
    header: list[str] | None = None
    for line, cells in rows:
        if header is None:
            header = [name.strip() for name in cells]
            column = _column(path, header, field)
            continue
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{path}:{line} has {len(cells)} columns, the first line {len(header)}"
                + ("" if kind == "csv" else "; a tab or a line end inside a text does this")
            )
        data = cells[column].encode("utf-8", "surrogateescape")
        yield RawDocument(path, "cell", line, 0, data)


def _csv_rows(path: str, stream: Stream) -> Iterator[tuple[int, list[str]]]:
    """(number of the line where the row begins, cells)."""
    first = True
    csv.field_size_limit(LINE_LIMIT)
    lines = _decoded_lines(path, stream)
    head = next(lines, None)
    if head is None:
        return
    delimiter = ";" if "," not in head and ";" in head else ","

    def whole() -> Iterator[str]:
        yield head
        yield from lines

    reader = csv.reader(whole(), delimiter=delimiter)
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{path}:{line} is no row of a .csv ({error})") from None
        if cells is None:
            return
        if cells or first:
            yield line, cells
        first, line = False, reader.line_num + 1


def _tsv_rows(path: str, stream: Stream) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(_decoded_lines(path, stream), start=1):
        cells = line.rstrip("\r\n").split("\t")
        yield number, [_unquoted(cell) for cell in cells]


def _unquoted(cell: str) -> str:
    quoted = _QUOTED.fullmatch(cell)
    return quoted[1].replace('""', '"') if quoted else cell


def _decoded_lines(path: str, stream: Stream) -> Iterator[str]:
    """Lines with their ends; bytes that are not UTF-8 stay for the document's own check."""
    remedy = "is a quotation mark not closed?"
    for _, _, line in numbered_lines(path, stream, LINE_LIMIT, remedy):
        yield line.decode("utf-8", "surrogateescape")


def _column(path: str, header: Sequence[str], field: str | None) -> int:
    name = field if field is not None else TEXT_FIELD
    if field is None and name not in header and len(header) == 1:
        return 0
    if header.count(name) > 1:
        raise UserError(f'{path} has {header.count(name)} columns "{name}"; rename one')
    if name not in header:
        raise missing_column(path, header, name)
    return list(header).index(name)


def missing_column(source: str, columns: Sequence[str], name: str) -> UserError:
    """The error for a table without the column `name`."""
    table = source.removesuffix(".gz").endswith((".csv", ".tsv"))
    shown = ", ".join(column if len(column) <= 30 else f"{column[:30]}…" for column in columns)
    return UserError(
        f'{source} has no column "{name}" (its columns: {shown}); --field=NAME names the one with '
        "the text" + ("; the first line must name the columns" if table else "")
    )


def read_parquet(path: str, field: str | None) -> Iterator[tuple[RawDocument, float]]:
    """The texts of one column, each with the share of the rows that are read so far.

    Args:
      field: name of the column; None: `text`, or the only column of strings.

    Raises:
      UserError: pyarrow is not installed, a damaged file, no such column, or one without text.
    """
    parquet, error_type = _pyarrow(path)
    try:
        with parquet.ParquetFile(path) as file:
            name = _text_column(path, file.schema_arrow, field)
            done, rows = 0, max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(batch_size=_BATCH, columns=[name]):
                for value in batch.column(0).to_pylist():
                    done += 1
                    data = (value or "").encode("utf-8")
                    yield RawDocument(f"{path} row {done}", "value", 1, 0, data), done / rows
    except error_type as error:
        raise UserError(f"{path} is not a whole Parquet file ({str(error)[:80]})") from None


def _pyarrow(path: str) -> tuple[Any, type[Exception]]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            f"{path}: reading Parquet needs pyarrow: pip install 'electra_jax[parquet]'"
        ) from None
    return pyarrow.parquet, pyarrow.lib.ArrowException


def _text_column(path: str, schema: Any, field: str | None) -> str:
    import pyarrow as pa

    def is_text(kind: Any) -> bool:
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        return any(
            check(kind)
            for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        )

    texts = [column.name for column in schema if is_text(column.type)]
    name = field if field is not None else TEXT_FIELD
    if field is None and name not in texts and len(texts) == 1:
        return texts[0]
    if name not in schema.names:
        raise missing_column(path, schema.names, name)
    if name not in texts:
        raise UserError(f'{path}: the column "{name}" holds {schema.field(name).type}, not text')
    return name
