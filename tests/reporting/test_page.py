"""The report: one file that needs nothing else, shows every figure, and survives any run."""

import json
import math
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.files import write_json_atomic
from electra_jax.reporting.chart import Chart, Curve, draw, smooth, ticks
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


def test_one_run_has_all_sections_and_each_chart_its_curves(tmp_path):
    page = report(tmp_path, make_run(tmp_path / "run"))
    assert page.headings == [
        "run",
        "Discriminator",
        "Generator",
        "Optimisation",
        "Final figures",
        "Configuration",
        "Versions",
    ]
    both = ["raw c0", "train c0", "held c1", "dots c1"]
    noise_free = ["train c0", "held c1", "dots c1"]
    assert page.charts["Skill"] == page.charts["AUC"] == page.charts["Generator loss"] == both
    assert set(page.charts["Replaced rate"]) >= set(noise_free)
    assert page.charts["Learning rate"] == ["train c0"]
    assert "Throughput" in page.charts


def test_a_held_out_figure_at_the_top_says_of_which_step_it_is(tmp_path):
    """The kept step can be another one."""
    rows = [{"step": s, "eval_f1": f} for s, f in ((20, 0.5), (1040, 0.25), (1060, math.nan))]
    page = report(tmp_path, write_rows(tmp_path / "run", rows))
    tiles = re.findall(r'tile"><b>(.*?)</b><span>(.*?)</span>', page.text)
    assert tiles == [("0.250", "F1, held out, step 1,040")]


def test_the_table_has_the_last_figures(tmp_path):
    rows = [
        {"step": 1, "rtd_skill": 0.1, "learning_rate": 5e-4},
        {"step": 2, "rtd_skill": 0.2, "learning_rate": 0.0},
        {"step": 2, "eval_rtd_skill": 0.1875, "eval_f1": 0.75},
        {"step": 3, "rtd_skill": None},
    ]
    page = report(tmp_path, write_rows(tmp_path / "run", rows))
    assert ["Skill", "0.200", "0.188"] in page.rows
    assert ["Learning rate", "0", ""] in page.rows
    assert ["F1", "", "0.750"] in page.rows


def test_the_page_fetches_nothing(tmp_path):
    page = report(tmp_path, make_run(tmp_path / "a"), make_run(tmp_path / "b", 1))
    for name, value in page.attributes:
        assert name not in ("src", "href", "srcset", "data", "action"), (name, value)
        assert "//" not in value
    assert "@import" not in page.text and "url(" not in page.text
    assert not re.search(r"https?:", page.text)
    assert "default-src 'none'" in page.text


def test_several_runs_share_each_chart_and_their_configurations_are_compared(tmp_path):
    runs = [make_run(tmp_path / name, seed, lr=0.1) for seed, name in enumerate("abc")]
    page = report(tmp_path, *runs)
    assert page.headings[0] == "3 runs compared"
    skill = page.charts["Skill"]
    assert {"train c0", "train c1", "train c2", "held c0", "held c1", "held c2"} <= set(skill)
    (header,) = [row for row in page.rows if row[0] == "run"]
    assert header[:3] == ["run", "train.seed", "steps"]
    assert [row[:3] for row in page.rows if row[0] in "abc"] == [
        ["a", "0", "600"],
        ["b", "1", "600"],
        ["c", "2", "600"],
    ]
    assert ["train.seed", "0", "1", "2"] in page.rows  # what differs, and only that
    assert not any(row[:1] == ["train.lr"] and len(row) == 4 for row in page.rows)
    assert '<i class="swatch c2"></i><span>c</span>' in page.text


def test_the_best_of_each_column_is_marked_by_its_direction(tmp_path):
    a = write_rows(tmp_path / "a", [{"step": 1, "eval_rtd_skill": 0.3, "eval_generator_loss": 5.0}])
    b = write_rows(tmp_path / "b", [{"step": 1, "eval_rtd_skill": 0.2, "eval_generator_loss": 4.0}])
    page = report(tmp_path, a, b)
    assert re.findall(r'number best">([^<]*)<', page.text) == ["0.300", "4.000"]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    page = report(tmp_path, make_run(tmp_path / "x" / "run"), make_run(tmp_path / "y" / "run", 1))
    assert {"x/run", "y/run"} <= {row[0] for row in page.rows}


def test_a_ninth_run_is_dashed(tmp_path):
    runs = [
        write_rows(tmp_path / str(n), [{"step": 1, "loss": n}, {"step": 2, "loss": n}])
        for n in range(9)
    ]
    page = report(tmp_path, *runs)
    assert page.charts["Loss"].count("train c0") == 1
    assert page.charts["Loss"].count("train c0 dashed") == 1


def test_unknown_figures_are_drawn_too(tmp_path):
    rows = [
        {"step": step, "span_f1": step / 10, "eval_mm_accuracy": 0.5, "phase": "x", "done": False}
        for step in range(1, 5)
    ]
    page = report(tmp_path, write_rows(tmp_path / "run", rows))
    assert list(page.charts) == ["Span f1", "Mm accuracy"]
    assert page.headings[1] == "Other figures"


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


def test_a_run_without_figures_has_its_configuration_and_says_so(tmp_path):
    (tmp_path / "run").mkdir()
    write_json_atomic(tmp_path / "run" / "config.json", {"a": {"b": [1, "x"]}})
    page = report(tmp_path, tmp_path / "run")
    assert "no figures yet" in page.text
    assert ["a.b", '[1, "x"]'] in page.rows


def test_what_users_wrote_is_text_not_markup(tmp_path):
    run = write_rows(tmp_path / "<b>run", [{"step": 1, "</script><i>": 2.0}])
    write_json_atomic(run / "config.json", {"<u>": "<s>&"})
    write_json_atomic(run / "report.json", [{"title": "<q>", "text": "<script>alert(1)</script>"}])
    page = report(tmp_path, run, write_rows(tmp_path / "other", [{"step": 1, "loss": 1.0}]))
    for markup in ("<b>run", "<i>", "<u>", "<s>", "<q>", "<script>alert"):
        assert markup not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


def test_blocks_of_every_kind_are_shown(tmp_path):
    run = make_run(tmp_path / "run")
    sentence = [
        {"text": "the", "probability": 0.04},
        {"text": "##mod", "probability": 0.91, "replaced": True, "original": "array"},
        {"text": "."},
    ]
    blocks = [
        {"title": "markup", "html": "<em>as it is</em>"},
        {"title": "text", "text": "one\ntwo"},
        {
            "title": "table",
            "table": [["name", "value"], ["entropy", 6.3121], ["rows", 3], ["x", None]],
        },
        {"title": "sentence", "tokens": [sentence]},
        {"title": "confusion", "matrix": {"labels": ["no", "yes"], "counts": [[9, 1], [0, 0]]}},
        {"title": "unigram entropy", "reference": {"generator_loss": 6.25}},
    ]
    write_json_atomic(run / "report.json", blocks)
    page = report(tmp_path, run)
    assert page.headings[1:6] == ["markup", "text", "table", "sentence", "confusion"]
    assert "<em>as it is</em>" in page.text
    assert "one\ntwo" in page.text
    assert [["name", "value"], ["entropy", "6.312"], ["rows", "3"], ["x", ""]] == page.rows[:4]
    assert re.search(r'"token replaced" style="--p:0.68".*?array.*?##mod.*?0\.91', page.text)
    assert ["no", "9", "1"] in page.rows and ["yes", "0", "0"] in page.rows
    assert "unigram entropy 6.250" in page.text
    assert page.text.count('class="reference"') == 1


def test_a_block_may_have_text_and_more_and_a_table_named_columns(tmp_path):
    run = make_run(tmp_path / "run")
    table = {"columns": ["figure", "value"], "rows": [["skill", "0.155"], ["loss", 4.25]]}
    block = {"title": "both", "html": "<em>last</em>", "table": table, "text": "first"}
    write_json_atomic(run / "report.json", [block])
    page = report(tmp_path, run)
    assert page.rows[:3] == [["figure", "value"], ["skill", "0.155"], ["loss", "4.250"]]
    assert "<td class=number>0.155</td>" in page.text
    places = [page.text.index(part) for part in (">first</p>", "0.155", "<em>last</em>")]
    assert places == sorted(places)


def test_blocks_of_several_runs_are_folded_under_each_runs_name(tmp_path):
    runs = [make_run(tmp_path / name) for name in "ab"]
    for run in runs:
        write_json_atomic(run / "report.json", [{"title": "note", "text": f"of {run.name}"}])
    page = report(tmp_path, *runs)
    assert page.headings.count("note") == 2
    assert "of a" in page.text and "of b" in page.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "cannot read .*config.json"),
        ("config.json", "[]", "config.json holds list, not dict"),
        ("report.json", '["x"]', "report.json: block 1 is not an object with a title"),
        ("report.json", '[{"title": "t", "table": [[1], 2]}]', "block 't' cannot be shown"),
        ("report.json", '[{"title": "t", "table": {"rows": []}}]', "block 't' cannot be shown"),
        ("report.json", '[{"title": "t", "matrix": {}}]', "block 't' cannot be shown"),
        ("report.json", '[{"title": "t", "tokens": [[{}]]}]', "block 't' cannot be shown"),
    ],
)
def test_a_file_that_cannot_be_shown_is_named(tmp_path, name, content, message):
    run = write_rows(tmp_path / "run", [{"step": 1, "loss": 1.0}])
    (run / name).write_text(content)
    with pytest.raises(UserError, match=message):
        write_report([run], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_what_is_no_workdir_is_named(tmp_path):
    with pytest.raises(UserError, match="is not the workdir of a run"):
        write_report([tmp_path], tmp_path / "report.html")
    with pytest.raises(UserError, match="name at least one"):
        write_report([], tmp_path / "report.html")


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    run = write_rows(tmp_path / "run", [{"step": 1, "loss": 1.0}])
    with pytest.raises(UserError, match="cannot make the folder of"):
        write_report([run], run / "metrics.jsonl" / "report.html")


def test_a_long_run_gives_a_small_page_and_quickly(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    rng = np.random.default_rng(0)
    with open(run / "metrics.jsonl", "w", encoding="utf-8") as stream:
        for step in range(1, 20_001):
            row = {"step": step, "rtd_skill": rng.normal(), "loss": rng.normal()}
            stream.write(json.dumps(row) + "\n")
    begun = time.process_time()
    page = report(tmp_path, run)
    assert time.process_time() - begun < 10
    assert len(page.text) < 120_000


# Charts


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
