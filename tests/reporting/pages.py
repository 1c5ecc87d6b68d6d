"""Runs as tests make them up, and pages as tests read them."""

import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from electra_jax.files import write_json_atomic
from electra_jax.reporting.page import write_report
from electra_jax.training.metrics_log import MetricsLog

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Checks that tags are closed in order; keeps headings, chart titles, cells, curves, labels."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.charts: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self.attributes: list[tuple[str, str]] = []
        self._caption = False
        self.text = text
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        self.attributes += list(values.items())
        if tag == "path" and values["class"].split()[0] in ("train", "held", "raw", "dots"):
            list(self.charts.values())[-1].append(values["class"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if not self.open:
            return
        if self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)
        if self.open[-2:] == ["figcaption", "b"]:
            self.charts[data] = []
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def make_run(workdir: Path, seed: int = 0, steps: int = 600, **config) -> Path:
    """What a pretraining run leaves: noisy training rows, held-out rows, a configuration."""
    workdir.mkdir(parents=True)
    rng = np.random.default_rng(seed)

    def figures(t: float, noise: float) -> dict[str, float]:
        rate = 0.135 - 0.03 * t
        entropy = -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
        skill = 0.25 / (1 + math.exp(-10 * (t - 0.35))) + rng.normal() * noise
        return {
            "generator_loss": 3.5 + 5 * (1 - t) ** 3 + rng.normal() * noise * 10,
            "discriminator_loss": entropy * (1 - skill),
            "masked_lm_accuracy": 0.05 + 0.38 * t**0.5,
            "replaced_rate": rate,
            "discriminator_auc": 0.5 + skill,
            "rtd_skill": skill,
        }

    with MetricsLog(workdir, resume_step=0, tensorboard=False) as log:
        for step in range(0, steps + 1, 2):
            t = step / steps
            if step:
                rest = {"learning_rate": 5e-4 * (1 - t), "tokens_per_second": 25e3, "seconds": step}
                log.write({"step": step, **figures(t, 0.02), **rest})
            if step % 100 == 0:
                held_out = {f"eval_{key}": value for key, value in figures(t, 0.0).items()}
                log.write({"step": step, **held_out})
    train = {"steps": steps, "seed": seed, **config}
    versions = {"jax": "0.10.2", "device": "cpu"}
    write_json_atomic(workdir / "config.json", {"train": train, "versions": versions})
    return workdir


def report(tmp_path: Path, *workdirs: Path) -> Page:
    path = write_report(list(workdirs), tmp_path / "report.html")
    assert path == tmp_path / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def write_rows(workdir: Path, rows: list[dict]) -> Path:
    workdir.mkdir(parents=True, exist_ok=True)
    with MetricsLog(workdir, resume_step=0, tensorboard=False) as log:
        for row in rows:
            log.write(row)
    return workdir
