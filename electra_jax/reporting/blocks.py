"""Blocks of `report.json`: what a run shows beside its figures.

A block has a `title` and any of these, shown in this order:

    text       plain text; a paragraph where something follows it
    table      {"columns": [name, …], "rows": [[cell, …], …]}, or one list of rows, names first
    html       markup, inserted unescaped
    tokens     [[{"text", "probability"?, "replaced"?, "original"?}, …], …]: sentences, a token each
    matrix     {"labels": [...], "counts": [[...], ...]}: rows are true, columns predicted
    reference  {metric: value}: a horizontal line, named by the title, in that metric's chart
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.reporting.markup import cell_text, escaped, table_markup
from electra_jax.reporting.runs import ReportedRun


def blocks(runs: Sequence[ReportedRun]) -> str:
    """The blocks as markup; with several runs, folded, one fold a run."""
    folds = []
    for run in runs:
        heading = "h3" if len(runs) > 1 else "h2"
        inside = "".join(
            f"<{heading}>{escaped(block['title'])}</{heading}>{markup}"
            for block in run.blocks
            if (markup := _block(block, run.workdir / "report.json")) is not None
        )
        if inside and len(runs) > 1:
            inside = f"<details><summary>{escaped(run.name)}</summary>{inside}</details>"
        folds.append(inside)
    shown = "".join(folds)
    return f"<h2>From each run</h2>{shown}" if shown and len(runs) > 1 else shown


def _block(block: Mapping[str, Any], path: Path) -> str | None:
    """Its markup; None if it is drawn elsewhere (a reference line)."""
    parts = []
    try:
        for kind, shown in _KINDS.items():
            if kind in block:
                parts.append(shown(block[kind]))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UserError(f"{path}: block {block['title']!r} cannot be shown ({error!r})") from error
    if "text" in block:
        text = escaped(block["text"])
        parts.insert(
            0,
            f"<p class=text>{text}</p>"
            if parts
            else f'<div class="card block"><pre>{text}</pre></div>',
        )
    return "".join(parts) or None


def _block_table(table: Any) -> str:
    if isinstance(table, Mapping):
        head, rows = table["columns"], table["rows"]
    else:
        head, *rows = table
    for row in rows:
        if isinstance(row, str) or len(row) != len(head):
            raise ValueError(f"a row does not have the {len(head)} cells of the header: {row!r}")
    numeric = {
        column
        for column in range(len(head))
        if rows and all(row[column] is None or _is_number(row[column]) for row in rows)
    }
    return table_markup(head, [[cell_text(cell) for cell in row] for row in rows], numeric)


def _block_html(markup: Any) -> str:
    return f'<div class="card block">{markup}</div>'


def _block_tokens(sentences: Any) -> str:
    shown = "".join(
        f'<div class="tokens">{"".join(map(_token, sentence))}</div>' for sentence in sentences
    )
    return f'<div class="card block">{shown}</div>'


def _block_matrix(matrix: Any) -> str:
    return _matrix(matrix["labels"], matrix["counts"])


_KINDS: dict[str, Callable[[Any], str]] = {
    "table": _block_table,
    "html": _block_html,
    "tokens": _block_tokens,
    "matrix": _block_matrix,
}


def _is_number(cell: Any) -> bool:
    try:
        float(cell.removesuffix(" %") if isinstance(cell, str) else cell)
    except (TypeError, ValueError):
        return False
    return True


def _token(token: Mapping[str, Any]) -> str:
    probability = token.get("probability")
    shade = 0.0 if probability is None else 0.75 * min(max(float(probability), 0.0), 1.0)
    replaced = " replaced" if token.get("replaced") else ""
    return (
        f'<span class="token{replaced}" style="--p:{shade:.2f}">'
        f'<small class="was">{escaped(token.get("original", ""))}</small>'
        f"<b>{escaped(token['text'])}</b>"
        f"<small>{'' if probability is None else f'{float(probability):.2f}'}</small></span>"
    )


def _matrix(labels: Sequence[Any], counts: Sequence[Sequence[float]]) -> str:
    """A confusion matrix, shaded by each row's shares."""
    head = "".join(f"<th>{escaped(label)}</th>" for label in labels)
    body = []
    for label, row in zip(labels, counts, strict=True):
        total = sum(row) or 1
        cells = "".join(
            f'<td style="--p:{0.75 * count / total:.2f}">{escaped(cell_text(count))}</td>'
            for count in row
        )
        body.append(f"<tr><th>{escaped(label)}</th>{cells}</tr>")
    return (
        '<div class="card scroll"><table class="matrix"><thead><tr><th>true ↓ predicted →</th>'
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
