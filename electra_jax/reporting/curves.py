"""The charts of the page: curves of one run or of several over each other, and their legend."""

from collections.abc import Sequence

import numpy as np

from electra_jax.reporting.chart import Chart, Curve, draw
from electra_jax.reporting.markup import escaped
from electra_jax.reporting.runs import ReportedRun, ShownMetric, other_metrics, sections
from electra_jax.training.metrics_log import EVAL


def figures(runs: Sequence[ReportedRun]) -> list[str]:
    """Each section's charts, the legend before the first."""
    parts: list[str] = []
    for heading, metrics in [*sections(runs), ("Other figures", other_metrics(runs))]:
        charts = [chart for metric in metrics if (chart := _chart(metric, runs)) is not None]
        if charts:
            legend = "" if parts else _legend(runs)
            drawn = "".join(draw(chart) for chart in charts)
            parts.append(f'<h2>{heading}</h2>{legend}<div class="charts">{drawn}</div>')
    return parts


def _chart(metric: ShownMetric, runs: Sequence[ReportedRun]) -> Chart | None:
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
                    # One run: a colour for training, one for held out. Several: one a run.
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


def _legend(runs: Sequence[ReportedRun]) -> str:
    if len(runs) == 1:
        items = ['<i class="swatch c0"></i><span>training (pale: before smoothing)</span>']
        if any(key.startswith(EVAL) for key in runs[0].columns):
            items.append('<i class="swatch dot c1"></i><span>held out</span>')
    else:
        items = [
            f'<i class="swatch c{number % 8}{" dashed" * (number >= 8)}"></i>'
            f"<span>{escaped(run.name)}</span>"
            for number, run in enumerate(runs)
        ]
        items.append('<i class="swatch thin"></i><span>training, smoothed</span>')
        items.append('<i class="swatch dot"></i><span>held out</span>')
    return f'<ul class="legend">{"".join(f"<li>{item}</li>" for item in items)}</ul>'
