"""Charts as SVG: ticks, smoothing, thinning, gaps, bounds."""

import json
import math
import re

import numpy as np
import pytest
from reporting.pages import report, write_rows

from electra_jax.reporting.chart import Chart, Curve, draw, smooth, tick_labels, ticks
from electra_jax.training.progress import human_count, human_figure


@pytest.mark.parametrize("low", [-3.0, 0.0, 0.07, 1e5])
@pytest.mark.parametrize("span", [1e-6, 0.3, 1.0, 7.0, 99.0, 1e6])
def test_ticks_are_round_inside_and_few(low, span):
    marks = ticks(low, low + span)
    assert 3 <= len(marks) <= 8
    assert all(low - 1e-9 * span <= mark <= low + span * (1 + 1e-9) for mark in marks)
    steps = np.diff(marks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-6)
    assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-2


def test_smoothing_takes_noise_away_and_neither_lags_nor_fills_gaps():
    steps = np.arange(1000.0)
    noisy = steps + np.where(steps % 2 == 0, 50, -50)
    smoothed = smooth(noisy)
    assert np.abs(smoothed[30:-30] - steps[30:-30]).max() < 5
    noisy[100:200] = np.nan
    assert np.array_equal(np.isnan(smooth(noisy)), np.isnan(noisy))
    short = np.array([1.0, 5.0, 2.0])
    assert np.array_equal(smooth(short), short)


def test_a_gap_in_the_figures_is_a_gap_in_the_curve():
    curve = Curve("training", 0, True, np.arange(4.0), np.array([1.0, np.nan, 2.0, 3.0]))
    (path,) = re.findall(r'class="held c0" d="([^"]*)"', draw(Chart("x", "", [curve])))
    assert path.count("M") == 2 and path.count("L") == 1


def test_thinning_keeps_the_ends_and_the_noise():
    values = np.zeros(10_000)
    values[5000] = 1.0  # one spike in a pale line
    values[[0, -1]] = [0.5, 0.75]
    curve = Curve("training", 0, False, np.arange(10_000.0), values)
    drawn = draw(Chart("x", "", [curve]))
    (raw,) = re.findall(r'class="raw c0" d="([^"]*)"', drawn)
    points = [float(place.split()[1]) for place in re.split("[ML]", raw) if place]
    assert len(points) <= 400
    assert points.count(min(points)) >= 1 and min(points) < points[5]
    assert raw.startswith("M0.0 ") and re.search(r"L1000\.0 [\d.]+$", raw)


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [0.0, 0.0, 0.0],
        [None, 1.0, None, 2.0],
        [-5.0, 3.0],
        [1e30, -1e30],
        [1e-30, 2e-30],
        [5, 5.0000001],
    ],
)
def test_any_figures_give_a_chart_within_its_bounds(tmp_path, values):
    rows = [{"step": step, "x": value} for step, value in enumerate(values)]
    page = report(tmp_path, write_rows(tmp_path / "run", rows))
    places = [
        float(number)
        for path in re.findall(r' class="(?:train|dots) [^"]*" d="([^"]*)"', page.text)
        for number in re.findall(r"-?[\d.]+", path.replace("h0", ""))
    ]
    assert places and all(0 <= place <= 1000 for place in places)
    assert "nan" not in page.text.lower().replace("nanoseconds", "")
    assert page.charts["X"]


@pytest.mark.parametrize(
    ("low", "high", "form"),
    [
        (0.15, 0.150002, human_figure),
        (0.1, 0.4, human_figure),
        (1e6, 1e6 + 1, human_figure),
        (1e-9, 1.001e-9, human_figure),
        (24_990, 25_010, human_count),
        (5e-4, 5.0002e-4, lambda value: f"{value:.0e}"),
        (87.301, 87.302, lambda value: f"{value:.1f} %"),
    ],
)
def test_labels_of_ticks_differ(low, high, form):
    labels = tick_labels(ticks(low, high), form)
    assert len(set(labels)) == len(labels) >= 3


def test_labels_of_ticks_are_plain_where_they_can_be():
    assert tick_labels([0.0, 0.5, 1.0], human_figure) == ["0.0", "0.5", "1.0"]
    assert tick_labels([80.0, 90.0], lambda value: f"{value:.1f} %") == ["80 %", "90 %"]
    assert tick_labels([80.0, 80.5], lambda value: f"{value:.1f} %") == ["80.0 %", "80.5 %"]


def spans(values, held_out=True):
    """The y-range of a chart of one curve, and its markup."""
    curve = Curve("x", 0, held_out, np.arange(float(len(values))), np.array(values), noisy=False)
    drawn = draw(Chart("x", "", [curve]))
    return json.loads(re.search(r'"y":(\[.*?\])', drawn)[1]), drawn


def test_an_untrained_network_s_figure_does_not_flatten_the_rest():
    (low, high), drawn = spans([55.3, 2.0, 1.5, 1.2])
    assert 0 <= low < 1.2 and 2.0 < high < 2.2
    assert '<span class="beyond top c0">↑ 55.300 at step 0</span>' in drawn
    (low, high), drawn = spans([-1.2, 0.1, 0.2])
    assert low >= 0 and '<span class="beyond bottom c0">↓ -1.200 at step 0</span>' in drawn
    line, dots = re.findall(r'class="(?:held|dots) c0" d="([^"]*)"', drawn)
    assert line.count("L") == 1 and line.startswith("M500.0 ")  # it begins at the next figure
    assert dots.count("M") == 2


@pytest.mark.parametrize("values", [[0.5, 0.6, 0.9], [9.0, 1.0], [9.0], [3.0, 3.0, 3.0]])
def test_a_first_figure_near_the_others_counts(values):
    (low, high), drawn = spans(values)
    assert low <= min(values) and max(values) <= high and "at step 0" not in drawn


def test_training_figures_always_count():
    (_, high), drawn = spans([55.3, 2.0, 1.5, 1.2], held_out=False)
    assert high > 55 and "at step 0" not in drawn


def test_a_chart_of_zeros_begins_at_zero():
    assert spans([0.0, 0.0])[0] == [0.0, 1.0]
    low, high = spans([-2.0, -2.0])[0]
    assert low < -2 < high
