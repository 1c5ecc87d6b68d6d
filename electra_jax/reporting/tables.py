"""The tables of the page: final figures, configuration, versions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.reporting.markup import escaped, table_markup, value_text
from electra_jax.reporting.runs import ReportedRun, differences, metrics_of, section, without
from electra_jax.training.metrics_log import EVAL
from electra_jax.training.workdir import flatten_config


def final_one(run: ReportedRun) -> str:
    """A row per metric: of training, and held out."""
    rows = []
    for metric in metrics_of([run]):
        cells = [run.last(metric.key), run.last(EVAL + metric.key)]
        rows.append([metric.title, *("" if c is None else metric.form(c) for c in cells)])
    if not rows:
        return ""
    return "<h2>Final figures</h2>" + table_markup(
        ["", "training", "held out"], rows, numbers={1, 2}
    )


def final_runs(runs: Sequence[ReportedRun]) -> str:
    """A row per run: what is particular to its configuration, then its figures."""
    metrics = [metric for metric in metrics_of(runs) if metric.key not in ("loss",)]
    differing = [key for key in differences(runs) if not key.startswith("versions.")][:4]
    flat = [flatten_config(run.config) for run in runs]
    best: dict[str, float] = {}
    for metric in metrics:
        values = [v for run in runs if (v := run.final(metric.key)) is not None]
        if metric.better and len(set(values)) > 1:
            best[metric.key] = max(values) if metric.better > 0 else min(values)
    body = []
    for run, config in zip(runs, flat, strict=True):
        cells = [f'<td class="key">{escaped(run.name)}</td>']
        cells += [f'<td class="number">{value_text(config.get(key))}</td>' for key in differing]
        cells.append(f'<td class="number">{run.steps:,}</td>')
        for metric in metrics:
            value = run.final(metric.key)
            mark = " best" if value is not None and best.get(metric.key) == value else ""
            shown = "" if value is None else metric.form(value)
            cells.append(f'<td class="number{mark}">{shown}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    heads = [*differing, "steps", *(metric.title for metric in metrics)]
    head = "".join(f'<th class="number">{escaped(name)}</th>' for name in heads)
    return (
        "<h2>Final figures</h2><p class=warning>Held out where a run has such a figure; the best "
        'of a column is bold.</p><div class="card scroll"><table><thead><tr><th>run</th>'
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def configuration(runs: Sequence[ReportedRun]) -> str:
    """What differs between the runs, and all of each, folded."""
    configs = [(run, without(run.config, "versions")) for run in runs]
    parts = []
    if len(runs) > 1:
        differing = [key for key in differences(runs) if not key.startswith("versions.")]
        flat = [flatten_config(config) for _, config in configs]
        rows = "".join(
            f'<tr><td class="key code">{escaped(key)}</td>'
            + "".join(f'<td class="value">{value_text(config.get(key))}</td>' for config in flat)
            + "</tr>"
            for key in differing
        )
        if rows:
            heads = "".join(f"<th>{escaped(run.name)}</th>" for run in runs)
            parts.append(
                '<div class="card scroll"><table><thead><tr><th>differs</th>'
                f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
            )
        else:
            parts.append("<p class=warning>The configurations are the same.</p>")
    for run, config in configs:
        if config:
            name = f"All of {run.name}" if len(runs) > 1 else "config.json"
            parts.append(
                f"<details><summary>{escaped(name)}</summary>{_settings(config)}</details>"
            )
    return f"<h2>Configuration</h2>{''.join(parts)}" if parts else ""


def versions(runs: Sequence[ReportedRun]) -> str:
    """The versions of what the runs used; once where they are the same."""
    tables = {
        json.dumps(section(run.config, "versions"), sort_keys=True): run for run in reversed(runs)
    }
    parts = []
    for run in reversed(tables.values()):
        found = section(run.config, "versions")
        if found:
            name = f"<p class=warning>{escaped(run.name)}</p>" if len(tables) > 1 else ""
            parts.append(f'{name}<div class="card">{_settings(found)}</div>')
    return f"<h2>Versions</h2>{''.join(parts)}" if parts else ""


def _settings(config: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td class="key code">{escaped(key)}</td>'
        f'<td class="value">{value_text(value)}</td></tr>'
        for key, value in flatten_config(config).items()
    )
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'
