"""One self-contained page on one run or several: curves, final figures, configuration, versions.

It reads what every run leaves in its work folder (`metrics.jsonl`, `config.json`, the titles of its
metrics) and, where it is there, `report.json`: a list of blocks that whoever ran it wants shown
(their fields: `blocks.py`).
"""

import os
from collections.abc import Sequence
from pathlib import Path

from electra_jax.errors import UserError
from electra_jax.files import write_text_atomic
from electra_jax.reporting.blocks import blocks
from electra_jax.reporting.commands import read_starts
from electra_jax.reporting.curves import figures
from electra_jax.reporting.facts import facts
from electra_jax.reporting.markup import escaped
from electra_jax.reporting.runs import (
    ReportedRun,
    ShownMetric,
    is_run,
    plain_title,
    read_run,
    runs_below,
    section,
    sections,
    short_names,
)
from electra_jax.reporting.style import CSS, SCRIPT
from electra_jax.reporting.tables import configuration, final_one, final_runs, versions
from electra_jax.training.metrics_log import EVAL
from electra_jax.training.progress import human_count, human_duration


def write_report(
    workdirs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]
) -> Path:
    """Write the page to `output` and return its path. It needs no network and no other file.

    Several workdirs are drawn over each other and their configurations compared; a folder that is
    no run stands for the runs below it. Raises UserError
    for a folder that no run has written to, for a file in it that cannot be read, and where
    `output` cannot be written.
    """
    if not workdirs:
        raise UserError("no workdir to report on: name at least one")
    paths = []
    for folder in map(Path, workdirs):
        below = runs_below(folder) if folder.is_dir() and not is_run(folder) else []
        paths += below or [folder]
    runs = [read_run(path, name) for path, name in zip(paths, short_names(paths), strict=True)]
    output = Path(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder of {output}: {error.strerror}") from error
    write_text_atomic(output, _page(runs))
    return output


def _page(runs: Sequence[ReportedRun]) -> str:
    several = len(runs) > 1
    title = f"{len(runs)} runs compared" if several else runs[0].name
    body = [
        f"<header><h1>{escaped(title)}</h1><p>{escaped(_subtitle(runs))}</p></header>",
        "" if several else _tiles(runs[0]),
        "" if several else blocks(runs),
        *figures(runs),
        final_runs(runs) if several else final_one(runs[0]),
        blocks(runs) if several else "",
        "" if several else facts(runs[0]),
        configuration(runs),
        versions(runs),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # The browser refuses anything that the page would fetch.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">"
        f"<title>{escaped(title)} · electra_jax</title><style>{CSS}</style></head>"
        f"<body><main{' class=runs' * several}>{''.join(body)}</main>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _subtitle(runs: Sequence[ReportedRun]) -> str:
    if len(runs) > 1:
        return ", ".join(run.name for run in runs[:8]) + (" …" if len(runs) > 8 else "")
    run = runs[0]
    parts = [f"{run.steps:,} steps"] if run.steps else ["no figures yet"]
    if (seconds := run.last("seconds")) is not None:
        parts.append(f"{human_duration(seconds)} of training")
    if device := section(run.config, "versions").get("device"):
        parts.append(str(device))
    if starts := read_starts(run.workdir):
        parts.append(f"started {starts[0].time[:10]}")
    return " · ".join(parts)


def _tiles(run: ReportedRun) -> str:
    tiles = []
    known = {metric.key: metric for _, metrics in sections([run]) for metric in metrics}
    headlines = [metric.key for metric in run.metrics if metric.headline]
    keys = [key for key in headlines if run.final(key) is not None]
    if not keys:  # another task: its first held-out figures
        keys = [key.removeprefix(EVAL) for key in run.columns if key.startswith(EVAL)][:4]
    for key in keys:
        value = run.final(key)
        assert value is not None
        metric = known.get(key) or ShownMetric(key, plain_title(key))
        held_out = run.last(EVAL + key) is not None
        where = f"held out, step {run.last_step(EVAL + key):,}" if held_out else "training"
        tiles.append((metric.form(value), f"{metric.title}, {where}"))
    if (speed := run.last("tokens_per_second")) is not None:
        tiles.append((human_count(speed), "tokens per second"))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="card tile"><b>{escaped(value)}</b><span>{escaped(name)}</span></div>'
            for value, name in tiles
        )
        + "</div>"
        if tiles
        else ""
    )
