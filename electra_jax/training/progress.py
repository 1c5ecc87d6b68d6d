"""The progress line of a run: a tqdm bar on a terminal, a plain line now and then in a file or a
notebook."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from tqdm import tqdm

from electra_jax.messages import message_stream
from electra_jax.objectives.base import Metric

_SPEED = ("tokens_per_second", "tokens/s")
# Figures shown where a row has them, with their names on the line.
FIGURES = (("loss", "loss"), _SPEED)

_TERMINAL_SECONDS = 0.2  # between two redraws
_FIGURE_SECONDS = 5.0  # between two readings of figures for the screen alone
_SAMPLE_SECONDS = 0.5  # between two samples of the speed,
_SAMPLES = 50  # of which so many are kept


def figures_of(metrics: Sequence[Metric]) -> tuple[tuple[str, str], ...]:
    """`FIGURES` with those of an objective's metrics that have a brief name, of held-out rows too:
    those are comparable from step to step where what is trained on changes (a falling sampling
    temperature)."""
    own = [(metric.key, metric.brief) for metric in metrics if metric.brief]
    held_out = [(f"eval_{key}", f"held-out {brief}") for key, brief in own]
    return (("loss", "loss"), *own, *held_out, _SPEED)


class Progress:
    """The progress of a run of `total` steps.

    The time left is computed here, over the last updates and without what is paused: tqdm's own
    would count the steps before a resume and the time to compile.

    start: the step that this process begins at.
    quiet: print nothing at all.
    figures: (key of a row, name on the line), in the order shown.
    seconds_between_lines: how often a line is printed where `stream` is no terminal.
    clock: seconds that only grow; for tests.
    """

    def __init__(
        self,
        total: int,
        *,
        start: int = 0,
        quiet: bool = False,
        figures: Sequence[tuple[str, str]] = FIGURES,
        stream: TextIO | None = None,
        seconds_between_lines: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._figures = figures
        self._stream = message_stream() if stream is None else stream
        self._terminal = self._stream.isatty()
        self._interval = _TERMINAL_SECONDS if self._terminal else seconds_between_lines
        self._clock = clock
        self._row: dict[str, Any] = {}
        self._quiet = quiet
        # (time, step): the first of them at the first update, after whatever a start takes.
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._figures_at = self._shown_at = -math.inf
        self._step = self._shown_step = start
        self._bar: tqdm[Any] | None = None  # from the first line on, on a terminal

    def update(self, step: int, row: Mapping[str, Any] | None = None) -> None:
        """Steps done so far, and newer figures if there are any; prints when it is time."""
        now, self._step = self._clock(), step
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, step))
        if row:
            self._row.update(row)
            self._figures_at = now
        if now - self._shown_at >= self._interval:
            self._show(now)

    def wants_figures(self) -> bool:
        """Whether the figures shown are old enough to be read again between two rows of metrics."""
        seconds = max(self._interval, _FIGURE_SECONDS)
        return not self._quiet and self._clock() - self._figures_at >= seconds

    @contextlib.contextmanager
    def pause(self, really: bool = True) -> Iterator[None]:
        """Time inside (of a compilation) is not counted in the time left."""
        began = self._clock()
        yield
        if really:
            passed = self._clock() - began
            shifted = [(at + passed, step) for at, step in self._samples]
            self._samples = deque(shifted, maxlen=_SAMPLES)

    def note(self, text: str) -> None:
        """Prints a line of its own, above the bar."""
        if not self._quiet:
            tqdm.write(text, file=self._stream)
            self._stream.flush()

    def close(self) -> None:
        """Prints the last state, if it has not been, and ends the bar."""
        if self._step != self._shown_step:
            self._show(self._clock())
        if self._bar is not None:
            self._bar.close()

    def _show(self, now: float) -> None:
        if self._quiet:
            return
        line = self._line(now)
        if self._terminal:
            if self._bar is None:
                self._bar = tqdm(
                    total=self._total,
                    initial=self._step,
                    file=self._stream,
                    dynamic_ncols=True,
                    bar_format="{desc} {bar}",  # the bar fills what is left of the line
                    desc=line,
                )
            else:
                self._bar.n = self._step
                self._bar.set_description_str(line)  # draws
        else:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        self._shown_at, self._shown_step = now, self._step

    def _line(self, now: float) -> str:
        percent = 100 * self._step // self._total if self._total else 100
        parts = [f"step {self._step:,}/{self._total:,} ({percent}%)"]
        parts += summary(self._row, self._figures)
        parts += self._remaining(now)
        return "  ".join(parts)

    def _remaining(self, now: float) -> list[str]:
        began, first = self._samples[0]
        if self._step <= first or now <= began or self._step >= self._total:
            return []
        left = (self._total - self._step) * (now - began) / (self._step - first)
        return [f"ETA {human_duration(left)}"]


def summary(
    row: Mapping[str, Any], figures: Sequence[tuple[str, str]] = FIGURES, *, prefix: str = ""
) -> list[str]:
    """[`loss 9.31`, `8.4k tokens/s`, …] of those figures that the row has under `prefix` + key."""
    parts = []
    for key, name in figures:
        value = row.get(prefix + key)
        if value is None:
            continue
        speed = name.endswith("/s")
        parts.append(f"{human_count(value)} {name}" if speed else f"{name} {human_figure(value)}")
    return parts


def human_count(value: float) -> str:
    """Three digits and a thousand's letter: 8412 → `8.41k`, 1.25e9 → `1.25G`."""
    if not math.isfinite(value):
        return str(value)
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999.5 of a unit would be rounded to 1000 of it: that is 1 of the next one.
        if abs(value) >= 0.9995 * factor:
            return f"{_three_digits(value / factor)}{letter}"
    return _three_digits(value)


def human_figure(value: float) -> str:
    """A loss or a score, to three or four digits: 0.1234 → `0.123`, 9.3079 → `9.308`."""
    value = float(value)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) < 1e-3 or abs(value) >= 1e5:
        return f"{value:.2e}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def human_duration(seconds: float) -> str:
    """The two largest units: `45s`, `12m 30s`, `3h 05m`, `2d 04h`."""
    whole = round(seconds)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02d}h"
    if hours:
        return f"{hours}h {minute:02d}m"
    if minutes:
        return f"{minutes}m {second:02d}s"
    return f"{second}s"


def _three_digits(value: float) -> str:
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{decimals}f}" if value != int(value) else str(int(value))
