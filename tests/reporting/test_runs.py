"""What is read of a work folder."""

import math
from pathlib import Path

import pytest
from reporting.pages import make_run, report, write_rows

from electra_jax.errors import UserError
from electra_jax.files import write_json_atomic
from electra_jax.objectives.base import Metric
from electra_jax.reporting.page import write_report
from electra_jax.reporting.runs import (
    ReportedRun,
    differences,
    metrics_of,
    other_metrics,
    read_run,
    runs_below,
    short_names,
    without,
)


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    page = report(tmp_path, make_run(tmp_path / "x" / "run"), make_run(tmp_path / "y" / "run", 1))
    assert {"x/run", "y/run"} <= {row[0] for row in page.rows}


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


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/a/x"], ["x"]),
        (["/a/demo/run"], ["demo/run"]),
        (["/a/sst2/seed-3"], ["sst2/seed-3"]),
        (["/run"], ["run"]),
        (["/a/x", "/a/y"], ["x", "y"]),
        (["/a/x/run", "/b/x/run"], ["a/x/run", "b/x/run"]),
        (["/a/run", "/a/run"], ["//a/run (1)", "//a/run (2)"]),
    ],
)
def test_names_are_as_short_as_they_differ(paths, names):
    assert short_names([Path(path) for path in paths]) == names


def test_the_last_figure_is_the_last_that_is_a_number(tmp_path):
    rows = [
        {"step": 1, "loss": 3.0, "eval_loss": 4.0},
        {"step": 2, "loss": 2.0},
        {"step": 3, "loss": math.nan},
    ]
    run = read_run(write_rows(tmp_path / "run", rows), "run")
    assert (run.last("loss"), run.last_step("loss")) == (2.0, 2)
    assert run.final("loss") == 4.0  # held out before training
    assert (run.last("none"), run.last_step("none"), run.steps) == (None, 0, 3)


def test_a_metric_has_the_title_that_the_run_recorded_and_others_a_plain_one(tmp_path):
    metric = Metric("contrast", "Contrast", "nats", -1, section="Mine")
    columns = {"contrast": ([1], [0.5]), "span_f1": ([1], [0.7]), "seconds": ([1], [9.0])}
    run = ReportedRun("run", tmp_path, columns, {}, [], (metric,))
    assert [(m.title, m.better) for m in metrics_of([run])] == [("Contrast", -1), ("Span f1", 0)]
    assert [m.key for m in other_metrics([run])] == ["span_f1"]


def test_configurations_differ_where_one_lacks_a_key():
    a, b = ({"x": {"y": 1, "z": 2}}, {"x": {"y": 1}, "w": None})
    runs = [ReportedRun(n, Path(n), {}, c, []) for n, c in (("a", a), ("b", b))]
    assert differences(runs) == ["x.z"]
    assert without(b, "x") == {"w": None}


def test_a_folder_stands_for_the_runs_below_it(tmp_path):
    for name in ("s/seed=10", "s/seed=2", "s/seed=2/failed-1", "s/deep/er/x", "s/failed-2", "t"):
        write_rows(tmp_path / name, [{"step": 1, "loss": 1.0}])
    (tmp_path / "s" / "empty").mkdir()
    found = [str(path.relative_to(tmp_path / "s")) for path in runs_below(tmp_path / "s")]
    assert found == ["deep/er/x", "seed=2", "seed=10"]
    page = report(tmp_path, tmp_path / "s", tmp_path / "t")
    assert page.headings[0] == "4 runs compared"
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none is not the workdir of a run"):
        write_report([tmp_path / "none"], tmp_path / "report.html")


def test_figures_in_percent_have_their_sign(tmp_path):
    metric = Metric("accuracy", "Accuracy", "%", 1, "Scores", headline=True)
    run = write_rows(
        tmp_path / "a", [{"step": 4, "accuracy": 80.0}, {"step": 4, "eval_accuracy": 87.25}]
    )
    write_json_atomic(run / "metric_titles.json", [metric._asdict()])
    page = report(tmp_path, run)
    assert ["Accuracy", "80.0 %", "87.2 %"] in page.rows
    assert ">87.2 %</b><span>Accuracy, held out, step 4<" in page.text
