"""Text, values and tables as markup."""

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from electra_jax.training.progress import human_figure


def cell_text(value: Any) -> Any:
    """A cell of a table that a run wrote (not escaped)."""
    return human_figure(value) if isinstance(value, float) else "" if value is None else value


def value_text(value: Any) -> str:
    """A setting as the page shows it (escaped)."""
    return escaped(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def escaped(value: Any) -> str:
    """Text with the characters of markup escaped."""
    return html.escape(str(value))


def table_markup(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: set[int]) -> str:
    """A table; `numbers` are the indices of the right-aligned columns."""

    def row(cells: Sequence[Any], tag: str) -> str:
        marked = (
            f"<{tag}{' class=number' * (column in numbers)}>{escaped(cell)}</{tag}>"
            for column, cell in enumerate(cells)
        )
        return f"<tr>{''.join(marked)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return (
        f'<div class="card scroll"><table><thead>{row(head, "th")}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
