"""One self-contained page on one run or several: curves, final figures, configuration, versions.

It reads what every run leaves in its work folder (`metrics.jsonl`, `config.json`, the titles of its
metrics) and, where it is there, `report.json`: a list of blocks that whoever ran it wants shown. A
block has a `title` and any of these, shown in this order:

    text       plain text; a paragraph where something follows it
    table      {"columns": [name, …], "rows": [[cell, …], …]}, or one list of rows, names first
    html       markup, put in as it is
    tokens     [[{"text", "probability"?, "replaced"?, "original"?}, …], …]: sentences, a token each
    matrix     {"labels": [...], "counts": [[...], ...]}: rows are true, columns predicted
    reference  {metric: value}: a horizontal line, named by the title, in that metric's chart
"""

import dataclasses
import functools
import html
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.objectives.base import Metric
from electra_jax.reporting.chart import Chart, Curve, draw
from electra_jax.reporting.style import CSS, SCRIPT
from electra_jax.training.metrics_log import EVAL, FILE, columns, read_metrics, read_rows
from electra_jax.training.progress import human_count, human_duration, human_figure
from electra_jax.training.workdir import flatten_config, write_text_atomic


def _rate(value: float) -> str:
    """Learning rates: 0.0005 → `5e-4`."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


@dataclasses.dataclass(frozen=True)
class _Metric:
    key: str
    title: str
    hint: str = ""
    form: Callable[[float], str] = human_figure
    better: int = 0  # 1: the higher, -1: the lower, 0: neither
    noisy: bool = True


_OPTIMISATION = (
    "Optimisation",
    [
        _Metric("loss", "Loss", "what is minimised", better=-1),
        _Metric("learning_rate", "Learning rate", form=_rate, noisy=False),
        _Metric("gradient_norm", "Gradient norm", "before clipping"),
        _Metric("tokens_per_second", "Throughput", "tokens per second", human_count, 1),
    ],
)
_NOT_DRAWN = {"seconds"}


@dataclasses.dataclass(frozen=True)
class _Run:
    name: str
    workdir: Path
    columns: dict[str, tuple[list[int], list[float | None]]]
    config: dict[str, Any]
    blocks: list[dict[str, Any]]
    metrics: tuple[Metric, ...] = ()

    def last(self, key: str) -> float | None:
        """The last value under `key` that is a number."""
        return self._last(key)[1]

    def last_step(self, key: str) -> int:
        """The step that `last` is of; 0 where there is none."""
        return self._last(key)[0]

    def _last(self, key: str) -> tuple[int, float | None]:
        steps, values = self.columns.get(key, ([], []))
        pairs = zip(reversed(steps), reversed(values), strict=True)
        return next((pair for pair in pairs if pair[1] is not None), (0, None))

    def final(self, key: str) -> float | None:
        """Held out where there is such a figure, otherwise of training."""
        held_out = self.last(EVAL + key)
        return self.last(key) if held_out is None else held_out

    @functools.cached_property
    def steps(self) -> int:
        return max((steps[-1] for steps, _ in self.columns.values() if steps), default=0)


def write_report(
    workdirs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]
) -> Path:
    """Write the page to `output` and return its path. It needs no network and no other file.

    Several workdirs are drawn over each other and their configurations compared. Raises UserError
    for a folder that no run has written to, for a file in it that cannot be read, and where
    `output` cannot be written.
    """
    if not workdirs:
        raise UserError("no workdir to report on: name at least one")
    paths = [Path(workdir) for workdir in workdirs]
    runs = [_read(path, name) for path, name in zip(paths, _names(paths), strict=True)]
    output = Path(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder of {output}: {error.strerror}") from error
    write_text_atomic(output, _page(runs))
    return output


def _read(workdir: Path, name: str) -> _Run:
    if not any((workdir / file).exists() for file in (FILE, "config.json")):
        raise UserError(
            f"{workdir} is not the workdir of a run: it has neither {FILE} nor config.json"
        )
    config = _read_json(workdir / "config.json", dict)
    blocks = _read_json(workdir / "report.json", list)
    for number, block in enumerate(blocks, start=1):
        if not isinstance(block, dict) or "title" not in block:
            raise UserError(f"{workdir / 'report.json'}: block {number} is no object with a title")
    return _Run(name, workdir, columns(read_rows(workdir)), config, blocks, read_metrics(workdir))


def _read_json(path: Path, kind: type) -> Any:
    if not path.exists():
        return kind()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; mend or remove it") from error
    if not isinstance(value, kind):
        raise UserError(f"{path} holds {type(value).__name__}, not {kind.__name__}: mend it")
    return value


def _names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [path.absolute().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(names, start=1)]


def _page(runs: Sequence[_Run]) -> str:
    several = len(runs) > 1
    title = f"{len(runs)} runs compared" if several else runs[0].name
    body = [
        f"<header><h1>{_text(title)}</h1><p>{_text(_subtitle(runs))}</p></header>",
        "" if several else _tiles(runs[0]),
        "" if several else _blocks(runs),
        *_figures(runs),
        _final_runs(runs) if several else _final_one(runs[0]),
        _blocks(runs) if several else "",
        _configuration(runs),
        _versions(runs),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The page says itself that nothing may be fetched.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">"
        f"<title>{_text(title)} · electra_jax</title><style>{CSS}</style></head>"
        f"<body><main{' class=runs' * several}>{''.join(body)}</main>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _subtitle(runs: Sequence[_Run]) -> str:
    if len(runs) > 1:
        return ", ".join(run.name for run in runs[:8]) + (" …" if len(runs) > 8 else "")
    run = runs[0]
    parts = [f"{run.steps:,} steps"] if run.steps else ["no figures yet"]
    if (seconds := run.last("seconds")) is not None:
        parts.append(f"{human_duration(seconds)} of training")
    device = _section(run.config, "versions").get("device")
    return " · ".join([*parts, str(device)] if device else parts)


def _sections(runs: Sequence[_Run]) -> list[tuple[str, list[_Metric]]]:
    """What the objectives of the runs show, under their headings, and what every run has."""
    found: dict[str, dict[str, _Metric]] = {}
    for metric in (metric for run in runs for metric in run.metrics):
        shown = _Metric(metric.key, metric.title, metric.unit, better=metric.better)
        found.setdefault(metric.section, {}).setdefault(metric.key, shown)
    return [*((name, list(metrics.values())) for name, metrics in found.items()), _OPTIMISATION]


def _tiles(run: _Run) -> str:
    tiles = []
    known = {metric.key: metric for _, metrics in _sections([run]) for metric in metrics}
    headlines = [metric.key for metric in run.metrics if metric.headline]
    keys = [key for key in headlines if run.final(key) is not None]
    if not keys:  # another task: its first held-out figures
        keys = [key.removeprefix(EVAL) for key in run.columns if key.startswith(EVAL)][:4]
    for key in keys:
        value = run.final(key)
        assert value is not None
        metric = known.get(key) or _Metric(key, _plain_title(key))
        held_out = run.last(EVAL + key) is not None
        where = f"held out, step {run.last_step(EVAL + key):,}" if held_out else "training"
        tiles.append((metric.form(value), f"{metric.title}, {where}"))
    if (speed := run.last("tokens_per_second")) is not None:
        tiles.append((human_count(speed), "tokens per second"))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="card tile"><b>{_text(value)}</b><span>{_text(name)}</span></div>'
            for value, name in tiles
        )
        + "</div>"
        if tiles
        else ""
    )


# Curves


def _figures(runs: Sequence[_Run]) -> list[str]:
    """Each section's charts, the legend before the first."""
    parts: list[str] = []
    for heading, metrics in [*_sections(runs), ("Other figures", _others(runs))]:
        charts = [chart for metric in metrics if (chart := _chart(metric, runs)) is not None]
        if charts:
            legend = "" if parts else _legend(runs)
            drawn = "".join(draw(chart) for chart in charts)
            parts.append(f'<h2>{heading}</h2>{legend}<div class="charts">{drawn}</div>')
    return parts


def _others(runs: Sequence[_Run]) -> list[_Metric]:
    """Every numeric key that no section names, in the order met."""
    named = {metric.key for _, metrics in _sections(runs) for metric in metrics} | _NOT_DRAWN
    found = dict.fromkeys(key.removeprefix(EVAL) for run in runs for key in run.columns)
    return [_Metric(key, _plain_title(key)) for key in found if key not in named]


def _plain_title(key: str) -> str:
    words = key.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _chart(metric: _Metric, runs: Sequence[_Run]) -> Chart | None:
    curves = []
    reference = []
    for number, run in enumerate(runs):
        for prefix in ("", EVAL):
            if prefix + metric.key not in run.columns:
                continue
            steps, values = run.columns[prefix + metric.key]
            held_out = prefix == EVAL
            what = "held out" if held_out else "training"
            curves.append(
                Curve(
                    label=f"{run.name}, {what}" if len(runs) > 1 else what,
                    # One run: colours tell training from held out. Several: run from run.
                    color=number if len(runs) > 1 else int(held_out),
                    held_out=held_out,
                    steps=np.array(steps, np.float64),
                    values=np.array([np.nan if v is None else v for v in values], np.float64),
                    noisy=metric.noisy,
                )
            )
        for block in run.blocks:
            value = block.get("reference", {}).get(metric.key)
            if value is not None and (line := (str(block["title"]), float(value))) not in reference:
                reference.append(line)
    if not curves:
        return None
    return Chart(metric.title, metric.hint, curves, reference, metric.form)


def _legend(runs: Sequence[_Run]) -> str:
    if len(runs) == 1:
        items = ['<i class="swatch c0"></i><span>training (pale: before smoothing)</span>']
        if any(key.startswith(EVAL) for key in runs[0].columns):
            items.append('<i class="swatch dot c1"></i><span>held out</span>')
    else:
        items = [
            f'<i class="swatch c{number % 8}{" dashed" * (number >= 8)}"></i>'
            f"<span>{_text(run.name)}</span>"
            for number, run in enumerate(runs)
        ]
        items.append('<i class="swatch thin"></i><span>training, smoothed</span>')
        items.append('<i class="swatch dot"></i><span>held out</span>')
    return f'<ul class="legend">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


# Tables


def _final_one(run: _Run) -> str:
    rows = []
    for metric in _metrics_of([run]):
        cells = [run.last(metric.key), run.last(EVAL + metric.key)]
        rows.append([metric.title, *("" if c is None else metric.form(c) for c in cells)])
    if not rows:
        return ""
    return "<h2>Final figures</h2>" + _table(["", "training", "held out"], rows, numbers={1, 2})


def _final_runs(runs: Sequence[_Run]) -> str:
    """A row per run: what is particular to its configuration, then its figures."""
    metrics = [metric for metric in _metrics_of(runs) if metric.key not in ("loss",)]
    differing = [key for key in _differences(runs) if not key.startswith("versions.")][:4]
    flat = [flatten_config(run.config) for run in runs]
    best: dict[str, float] = {}
    for metric in metrics:
        values = [v for run in runs if (v := run.final(metric.key)) is not None]
        if metric.better and len(set(values)) > 1:
            best[metric.key] = max(values) if metric.better > 0 else min(values)
    body = []
    for run, config in zip(runs, flat, strict=True):
        cells = [f'<td class="key">{_text(run.name)}</td>']
        cells += [f'<td class="number">{_value(config.get(key))}</td>' for key in differing]
        cells.append(f'<td class="number">{run.steps:,}</td>')
        for metric in metrics:
            value = run.final(metric.key)
            mark = " best" if value is not None and best.get(metric.key) == value else ""
            shown = "" if value is None else metric.form(value)
            cells.append(f'<td class="number{mark}">{shown}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    heads = [*differing, "steps", *(metric.title for metric in metrics)]
    head = "".join(f'<th class="number">{_text(name)}</th>' for name in heads)
    return (
        "<h2>Final figures</h2><p class=warning>Held out where a run has such a figure; the best "
        'of a column is bold.</p><div class="card scroll"><table><thead><tr><th>run</th>'
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _metrics_of(runs: Sequence[_Run]) -> list[_Metric]:
    known = [metric for _, metrics in _sections(runs) for metric in metrics]
    every = [*known, *_others(runs)]
    return [m for m in every if any(run.final(m.key) is not None for run in runs)]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: set[int]) -> str:
    def row(cells: Sequence[Any], tag: str) -> str:
        marked = (
            f"<{tag}{' class=number' * (column in numbers)}>{_text(cell)}</{tag}>"
            for column, cell in enumerate(cells)
        )
        return f"<tr>{''.join(marked)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return (
        f'<div class="card scroll"><table><thead>{row(head, "th")}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _configuration(runs: Sequence[_Run]) -> str:
    configs = [(run, _without(run.config, "versions")) for run in runs]
    parts = []
    if len(runs) > 1:
        differing = [key for key in _differences(runs) if not key.startswith("versions.")]
        flat = [flatten_config(config) for _, config in configs]
        rows = "".join(
            f'<tr><td class="key code">{_text(key)}</td>'
            + "".join(f'<td class="value">{_value(config.get(key))}</td>' for config in flat)
            + "</tr>"
            for key in differing
        )
        if rows:
            heads = "".join(f"<th>{_text(run.name)}</th>" for run in runs)
            parts.append(
                '<div class="card scroll"><table><thead><tr><th>differs</th>'
                f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
            )
        else:
            parts.append("<p class=warning>The configurations are the same.</p>")
    for run, config in configs:
        if config:
            name = f"All of {run.name}" if len(runs) > 1 else "config.json"
            parts.append(f"<details><summary>{_text(name)}</summary>{_settings(config)}</details>")
    return f"<h2>Configuration</h2>{''.join(parts)}" if parts else ""


def _versions(runs: Sequence[_Run]) -> str:
    tables = {
        json.dumps(_section(run.config, "versions"), sort_keys=True): run for run in reversed(runs)
    }
    parts = []
    for run in reversed(tables.values()):
        versions = _section(run.config, "versions")
        if versions:
            name = f"<p class=warning>{_text(run.name)}</p>" if len(tables) > 1 else ""
            parts.append(f'{name}<div class="card">{_settings(versions)}</div>')
    return f"<h2>Versions</h2>{''.join(parts)}" if parts else ""


def _settings(config: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td class="key code">{_text(key)}</td><td class="value">{_value(value)}</td></tr>'
        for key, value in flatten_config(config).items()
    )
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'


def _differences(runs: Sequence[_Run]) -> list[str]:
    """Dotted keys whose value is not the same in every run, those that only some have too."""
    flat = [flatten_config(run.config) for run in runs]
    keys = dict.fromkeys(key for config in flat for key in config)
    return [key for key in keys if len({_value(config.get(key)) for config in flat}) > 1]


# Blocks


def _blocks(runs: Sequence[_Run]) -> str:
    """One run's blocks follow its figures; those of several are folded, a fold for each run."""
    folds = []
    for run in runs:
        heading = "h3" if len(runs) > 1 else "h2"
        inside = "".join(
            f"<{heading}>{_text(block['title'])}</{heading}>{markup}"
            for block in run.blocks
            if (markup := _block(block, run.workdir / "report.json")) is not None
        )
        if inside and len(runs) > 1:
            inside = f"<details><summary>{_text(run.name)}</summary>{inside}</details>"
        folds.append(inside)
    shown = "".join(folds)
    return f"<h2>From each run</h2>{shown}" if shown and len(runs) > 1 else shown


def _block(block: Mapping[str, Any], path: Path) -> str | None:
    """Its markup; None for one that is drawn elsewhere."""
    parts = []
    try:
        for kind, shown in _KINDS.items():
            if kind in block:
                parts.append(shown(block[kind]))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UserError(f"{path}: block {block['title']!r} cannot be shown ({error!r})") from error
    if "text" in block:
        text = _text(block["text"])
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
            raise ValueError(f"a row has not the {len(head)} cells of the header: {row!r}")
    numeric = {
        column
        for column in range(len(head))
        if rows and all(row[column] is None or _is_number(row[column]) for row in rows)
    }
    return _table(head, [[_cell(cell) for cell in row] for row in rows], numeric)


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
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def _token(token: Mapping[str, Any]) -> str:
    probability = token.get("probability")
    shade = 0.0 if probability is None else 0.75 * min(max(float(probability), 0.0), 1.0)
    replaced = " replaced" if token.get("replaced") else ""
    return (
        f'<span class="token{replaced}" style="--p:{shade:.2f}">'
        f'<small class="was">{_text(token.get("original", ""))}</small>'
        f"<b>{_text(token['text'])}</b>"
        f"<small>{'' if probability is None else f'{float(probability):.2f}'}</small></span>"
    )


def _matrix(labels: Sequence[Any], counts: Sequence[Sequence[float]]) -> str:
    """A confusion matrix, shaded by each row's shares."""
    head = "".join(f"<th>{_text(label)}</th>" for label in labels)
    body = []
    for label, row in zip(labels, counts, strict=True):
        total = sum(row) or 1
        cells = "".join(
            f'<td style="--p:{0.75 * count / total:.2f}">{_text(_cell(count))}</td>'
            for count in row
        )
        body.append(f"<tr><th>{_text(label)}</th>{cells}</tr>")
    return (
        '<div class="card scroll"><table class="matrix"><thead><tr><th>true ↓ predicted →</th>'
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


# Text


def _section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name)
    return dict(section) if isinstance(section, Mapping) else {}


def _without(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != name}


def _cell(value: Any) -> Any:
    return human_figure(value) if isinstance(value, float) else "" if value is None else value


def _value(value: Any) -> str:
    """A setting as the page shows it (escaped)."""
    return _text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _text(value: Any) -> str:
    return html.escape(str(value))
