"""Curves as inline SVG that needs no script: ticks, smoothing, thinning, one figure per metric.

The drawing area stretches with the page while strokes and labels keep their size: axis labels are
HTML placed in per cent, as large on a phone as on a desktop.
"""

import dataclasses
import html
import json
import math
from collections.abc import Callable, Sequence

import numpy as np

from electra_jax.training.progress import human_count, human_figure

_COLORS = 8  # classes c0 … c7 of the style sheet
_POINTS = 320  # per curve; more than a curve has pixels would only make the page heavy


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line of a chart: the figures of one run, training or held out. NaN makes a gap."""

    label: str
    color: int
    held_out: bool
    steps: np.ndarray
    values: np.ndarray
    noisy: bool = True  # smoothed, unless held out


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure: title, a line on how to read it, curves, and labelled horizontal lines."""

    title: str
    hint: str
    curves: Sequence[Curve]
    reference: Sequence[tuple[str, float]] = ()
    form: Callable[[float], str] = human_figure


def draw(chart: Chart) -> str:
    """The chart as one `<figure>`."""
    curves = [_prepare(curve, len(chart.curves)) for curve in chart.curves]
    left, right = _span_of_steps(chart.curves)
    low, high = _span_of_values(curves, chart.reference)
    form = chart.form

    def x(step: float) -> float:
        return 1000 * (step - left) / (right - left)

    def y(value: float) -> float:
        # The range leaves out single spikes of the pale lines: they end at its edge.
        return min(max(1000 * (high - value) / (high - low), 0.0), 1000.0)

    lines = [f'<path class="grid" d="M0 {y(t):.0f}H1000"/>' for t in ticks(low, high)]
    for _, value in chart.reference:
        lines.append(f'<path class="reference" d="M0 {y(value):.1f}H1000"/>')
    for curve in sorted(curves, key=lambda curve: curve.held_out):
        lines.extend(_paths(_without_beyond(curve, low, high), x, y))
    marks = ticks(low, high)
    names = zip(marks, tick_labels(marks, form), strict=True)
    y_labels = "".join(f'<span style="top:{y(t) / 10:.1f}%">{name}</span>' for t, name in names)
    x_labels = "".join(
        f'<span style="left:{x(t) / 10:.1f}%"{_edge(x(t))}>{human_count(t)}</span>'
        for t in ticks(left, right)
    )
    notes = "".join(
        f'<span class="note" style="top:{y(value) / 10:.1f}%">{html.escape(name)} '
        f"{form(value)}</span>"
        for name, value in chart.reference
    )
    notes += _beyond(chart.curves, low, high, form)
    last = [(c, c.last) for c in curves if c.last is not None]
    spoken = ", ".join(f"{curve.label} {form(value)}" for curve, value in last)
    shown = last if len(curves) <= 2 else []
    final = "".join(
        f'<span class="c{curve.color % _COLORS}">'
        f'<i class="swatch{" dot" * curve.held_out}"></i>{form(value)}</span>'
        for curve, value in shown
    )
    data = json.dumps(
        {
            "x": [left, right],
            "y": [low, high],
            "curves": [
                {"label": c.label, "color": c.color, "points": _finite_points(c)} for c in curves
            ],
        },
        separators=(",", ":"),
    ).replace("<", "\\u003c")  # a name must not end the script
    return (
        f'<figure class="chart"><figcaption><b>{html.escape(chart.title)}</b>'
        f'<span class="final">{final}</span><small>{html.escape(chart.hint)}</small></figcaption>'
        f'<div class="plot"><div class="y">{y_labels}</div><div class="area">'
        '<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" '
        f'aria-label="{html.escape(f"{chart.title}: {spoken}")}">{"".join(lines)}</svg>'
        f'{notes}</div><div class="x">{x_labels}</div></div>'
        f'<script type="application/json">{data}</script></figure>'
    )


def ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`."""
    power = 10.0 ** math.ceil(math.log10(high - low))
    for step in (m * power for power in (power, power / 10) for m in (1, 0.5, 0.2)):
        first = math.ceil(low / step - 1e-9)
        count = math.floor(high / step + 1e-9) - first + 1
        if count >= 3:
            break
    return [(first + i) * step for i in range(count)]


def smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a centred window of one twentieth of the curve, NaN left out; short ones as is."""
    half = len(values) // 40
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    index = np.arange(len(values))
    begin, end = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    number = counts[end] - counts[begin]
    means = (sums[end] - sums[begin]) / np.maximum(number, 1)
    return np.where(finite, means, np.nan)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    label: str
    color: int
    held_out: bool
    steps: np.ndarray  # of what is drawn in full colour
    values: np.ndarray
    raw_steps: np.ndarray  # of the pale line behind it; may be empty
    raw_values: np.ndarray
    last: float | None


def _prepare(curve: Curve, curves: int) -> _Prepared:
    limit = max(60, _POINTS * 8 // max(8, curves))
    finite = curve.values[np.isfinite(curve.values)]
    last = float(finite[-1]) if len(finite) else None
    none = np.empty(0)
    if curve.held_out:
        steps, values = _thin(curve.steps, curve.values, limit)
        return _Prepared(curve.label, curve.color, True, steps, values, none, none, last)
    smoothed = smooth(curve.values) if curve.noisy else curve.values
    steps, values = _thin(curve.steps, smoothed, limit)
    raw = (none, none)
    if curves <= 2 and not np.array_equal(smoothed, curve.values, equal_nan=True):
        raw = _envelope(curve.steps, curve.values, limit)
    return _Prepared(curve.label, curve.color, False, steps, values, *raw, last)


def _thin(steps: np.ndarray, values: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `limit` of the points, the first and the last among them."""
    if len(steps) <= limit:
        return steps, values
    chosen = np.unique(np.linspace(0, len(steps) - 1, limit).round().astype(int))
    return steps[chosen], values[chosen]


def _envelope(steps: np.ndarray, values: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum of each stretch, so that thinning does not hide the noise."""
    if len(steps) <= limit:
        return steps, values
    chosen: list[int] = []
    for stretch in np.array_split(np.arange(len(steps)), limit // 2):
        if np.isfinite(values[stretch]).any():
            extremes = {
                stretch[np.nanargmin(values[stretch])],
                stretch[np.nanargmax(values[stretch])],
            }
            chosen.extend(sorted(extremes))
        else:
            chosen.append(int(stretch[0]))  # a gap stays one
    return steps[chosen], values[chosen]


def _span_of_steps(curves: Sequence[Curve]) -> tuple[float, float]:
    left = float(min(curve.steps.min() for curve in curves))
    right = float(max(curve.steps.max() for curve in curves))
    left = 0.0 if left < 0.2 * right else left  # an axis that nearly begins at zero does
    return (left, right) if right > left else (left - 0.5, right + 0.5)


def _span_of_values(
    curves: Sequence[_Prepared], reference: Sequence[tuple[str, float]]
) -> tuple[float, float]:
    """All of the full-coloured lines; of the pale ones all but single spikes."""
    seen = [np.array([value for _, value in reference])]
    begun = _without_first(curves)
    for curve, values in zip(curves, begun, strict=True):
        seen.append(values[np.isfinite(values)])
        raw = curve.raw_values[np.isfinite(curve.raw_values)]
        if len(raw):
            seen.append(np.quantile(raw, [0.02, 0.98]))
    every = np.concatenate(seen)
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    if low >= 0 and low < 0.25 * high:
        low = 0.0
    if high <= low:
        room = abs(high) * 0.1
        return (low - room, high + room) if room else (0.0, 1.0)
    room = 0.05 * (high - low)
    return (low if low == 0 else low - room), high + room


def _without_first(curves: Sequence[_Prepared]) -> list[np.ndarray]:
    """The values of each curve, without that of step 0 where it alone takes more than half of the
    range: an untrained network's figures would flatten all that follow."""
    rest = [np.where(c.steps > 0, c.values, np.nan) if c.held_out else c.values for c in curves]
    finite = np.concatenate([values[np.isfinite(values)] for values in rest])
    if len(finite) < 2:
        return [curve.values for curve in curves]
    low, high = finite.min(), finite.max()
    found = []
    for curve, values in zip(curves, rest, strict=True):
        first = curve.values[~np.isfinite(values) & np.isfinite(curve.values)]
        far = max([0.0, *(first - high), *(low - first)]) > high - low
        found.append(values if far else curve.values)
    return found


def _without_beyond(curve: _Prepared, low: float, high: float) -> _Prepared:
    """The curve without a held-out figure of step 0 outside of the range: a note tells it
    (`_beyond`), and a line from the edge would show a course that the run did not take."""
    if not curve.held_out:
        return curve
    outside = (curve.steps == 0) & ((curve.values < low) | (curve.values > high))
    return dataclasses.replace(curve, values=np.where(outside, np.nan, curve.values))


def _beyond(curves: Sequence[Curve], low: float, high: float, form: Callable[[float], str]) -> str:
    """A note at the edge for each held-out figure of step 0 that lies outside of the range."""
    marks = []
    for curve in curves:
        for step, value in zip(curve.steps, curve.values, strict=True):
            if curve.held_out and step == 0 and math.isfinite(value) and not low <= value <= high:
                edge, arrow = ("top", "↑") if value > high else ("bottom", "↓")
                marks.append(
                    f'<span class="beyond {edge} c{curve.color % _COLORS}">{arrow} '
                    f"{form(value)} at step 0</span>"
                )
    return "".join(marks[:1])


def _paths(curve: _Prepared, x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    paths = []
    color = f"c{curve.color % _COLORS}"
    # A ninth run has the first one's colour, dashed.
    more = " dashed" if curve.color >= _COLORS else ""
    if len(curve.raw_steps):
        path = _path(curve.raw_steps, curve.raw_values, x, y)
        paths.append(f'<path class="raw {color}" d="{path}"/>')
    kind = "held" if curve.held_out else "train"
    path = _path(curve.steps, curve.values, x, y)
    paths.append(f'<path class="{kind} {color}{more}" d="{path}"/>')
    single = len(curve.steps) == 1
    if single or (curve.held_out and len(curve.steps) <= 60):
        dots = "".join(
            f"M{x(step):.1f} {y(value):.1f}h0"
            for step, value in zip(curve.steps, curve.values, strict=True)
            if math.isfinite(value)
        )
        paths.append(f'<path class="dots {color}" d="{dots}"/>')
    return paths


def _path(
    steps: np.ndarray,
    values: np.ndarray,
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    parts = []
    pen = "M"
    for step, value in zip(steps, values, strict=True):
        if math.isfinite(value):
            parts.append(f"{pen}{x(step):.1f} {y(value):.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _finite_points(curve: _Prepared) -> list[list[float]]:
    return [
        [int(step), float(f"{value:.5g}")]
        for step, value in zip(curve.steps, curve.values, strict=True)
        if math.isfinite(value)
    ]


def tick_labels(marks: Sequence[float], form: Callable[[float], str]) -> list[str]:
    """A label for each tick, all different: plain numbers with the decimals that it takes, `form`
    where a metric has one of its own, powers of ten where the numbers are too small or too long."""
    step = marks[1] - marks[0] if len(marks) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    plain = [f"{value:.{decimals}f}" for value in marks]
    if form is human_figure:
        labels = plain if max(map(len, plain)) <= 7 else [human_figure(t) for t in marks]
    else:
        labels = [form(value) for value in marks]
        if all(label.endswith(".0 %") for label in labels):
            labels = [label.replace(".0 %", " %") for label in labels]
    digits = 1
    while len(set(labels)) < len(labels) and digits < 16:
        labels = [f"{value:.{digits}e}" for value in marks]
        digits += 1
    return labels


def _edge(position: float) -> str:
    """A label at an end of the axis is aligned to it, so that it does not overhang."""
    return ' class="end"' if position > 970 else ' class="begin"' if position < 30 else ""
