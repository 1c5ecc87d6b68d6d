"""A run as the page reads it from its work folder, and the metrics that the page shows."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.files import read_json
from electra_jax.objectives.base import Metric
from electra_jax.reporting.markup import value_text
from electra_jax.training.metrics_log import EVAL, FILE, columns, read_metrics, read_rows
from electra_jax.training.progress import human_count, human_figure
from electra_jax.training.workdir import flatten_config


def _rate(value: float) -> str:
    """Learning rates: 0.0005 → `5e-4`."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _percent(value: float) -> str:
    """A figure that is in percent: 87.2519 → `87.3 %`."""
    return f"{value:.1f} %"


@dataclasses.dataclass(frozen=True)
class ShownMetric:
    """A metric as the page shows it."""

    key: str
    title: str
    hint: str = ""
    form: Callable[[float], str] = human_figure
    better: int = 0  # 1: the higher, -1: the lower, 0: neither
    noisy: bool = True


_OPTIMISATION = (
    "Optimisation",
    [
        ShownMetric("loss", "Loss", "what is minimised", better=-1),
        ShownMetric("learning_rate", "Learning rate", form=_rate, noisy=False),
        ShownMetric("gradient_norm", "Gradient norm", "before clipping"),
        ShownMetric("tokens_per_second", "Throughput", "tokens per second", human_count, 1),
    ],
)
_NOT_DRAWN = {"seconds"}


@dataclasses.dataclass(frozen=True)
class ReportedRun:
    """One run, read."""

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
        """The step of the value that `last` returns; 0 without one."""
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
        """The last step of any figure."""
        return max((steps[-1] for steps, _ in self.columns.values() if steps), default=0)


def read_run(workdir: Path, name: str) -> ReportedRun:
    """Reads a work folder. Raises UserError if no run wrote to it or a file cannot be read."""
    if not is_run(workdir):
        raise UserError(
            f"{workdir} is not the workdir of a run: it has neither {FILE} nor config.json"
        )
    config = _read_json(workdir / "config.json", dict)
    blocks = _read_json(workdir / "report.json", list)
    for number, block in enumerate(blocks, start=1):
        if not isinstance(block, dict) or "title" not in block:
            raise UserError(
                f"{workdir / 'report.json'}: block {number} is not an object with a title"
            )
    figures = columns(read_rows(workdir))
    return ReportedRun(name, workdir, figures, config, blocks, read_metrics(workdir))


def runs_below(folder: Path) -> list[Path]:
    """The work folders in a folder of runs, at most three levels down, in order of their names with
    numbers as such; the attempts that a run put aside (`failed-N`) and what is inside a run's own
    folder are left out."""

    def search(at: Path, depth: int) -> Iterator[Path]:
        for child in sorted(filter(Path.is_dir, at.iterdir()), key=_natural):
            if (child / FILE).exists():
                yield child
            elif depth > 1 and not child.name.startswith((".", "failed-")):
                yield from search(child, depth - 1)

    return [run for run in search(folder, 3) if not run.name.startswith("failed-")]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts seed-2 before seed-10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part) if part.isdigit() else -1, part) for part in parts]


def is_run(folder: Path) -> bool:
    """Whether a run has written to a folder."""
    return any((folder / file).exists() for file in (FILE, "config.json"))


def _read_json(path: Path, kind: type) -> Any:
    if not path.exists():
        return kind()
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; mend or remove it") from error
    if not isinstance(value, kind):
        raise UserError(f"{path} holds {type(value).__name__}, not {kind.__name__}: mend it")
    return value


# Names that say nothing of a run: its parent's goes before.
_GENERAL = re.compile(r"run|runs|out|output|w|work|workdir|(seed|failed|attempt)-?\d+|\d+")


def short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest trailing parts of the paths that are all different and do not begin with a
    general name such as `run`."""
    parts = [path.absolute().parts for path in paths]
    if len(parts) == 1:
        (part,) = parts
        first = next((i for i in range(len(part) - 1, 0, -1) if not _GENERAL.fullmatch(part[i])), 0)
        return ["/".join(part[first or -1 :])]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(names, start=1)]


def sections(runs: Sequence[ReportedRun]) -> list[tuple[str, list[ShownMetric]]]:
    """(heading, metrics): those of the runs' objectives, then those that every run has."""
    found: dict[str, dict[str, ShownMetric]] = {}
    for metric in (metric for run in runs for metric in run.metrics):
        percent = metric.unit == "%"
        shown = ShownMetric(
            metric.key,
            metric.title,
            "" if percent else metric.unit,
            _percent if percent else human_figure,
            metric.better,
        )
        found.setdefault(metric.section, {}).setdefault(metric.key, shown)
    return [*((name, list(metrics.values())) for name, metrics in found.items()), _OPTIMISATION]


def other_metrics(runs: Sequence[ReportedRun]) -> list[ShownMetric]:
    """Every logged key that no section has, in order of first appearance."""
    named = {metric.key for _, metrics in sections(runs) for metric in metrics} | _NOT_DRAWN
    found = dict.fromkeys(key.removeprefix(EVAL) for run in runs for key in run.columns)
    return [ShownMetric(key, plain_title(key)) for key in found if key not in named]


def plain_title(key: str) -> str:
    """`exact_match` → `Exact match`."""
    words = key.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def metrics_of(runs: Sequence[ReportedRun]) -> list[ShownMetric]:
    """Every metric that one of the runs has a figure of."""
    known = [metric for _, metrics in sections(runs) for metric in metrics]
    every = [*known, *other_metrics(runs)]
    return [m for m in every if any(run.final(m.key) is not None for run in runs)]


def differences(runs: Sequence[ReportedRun]) -> list[str]:
    """Dotted keys whose value differs between runs, or that some runs lack."""
    flat = [flatten_config(run.config) for run in runs]
    keys = dict.fromkeys(key for config in flat for key in config)
    return [key for key in keys if len({value_text(config.get(key)) for config in flat}) > 1]


def section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A group of a configuration; {} without one of that name."""
    found = config.get(name)
    return dict(found) if isinstance(found, Mapping) else {}


def without(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The configuration but for one group."""
    return {key: value for key, value in config.items() if key != name}
