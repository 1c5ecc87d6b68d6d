"""Final figures and configurations in tables."""

import re

from reporting.pages import make_run, report, write_rows

from electra_jax.files import write_json_atomic


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


def test_the_best_of_each_column_is_marked_by_its_direction(tmp_path):
    a = write_rows(tmp_path / "a", [{"step": 1, "eval_rtd_skill": 0.3, "eval_generator_loss": 5.0}])
    b = write_rows(tmp_path / "b", [{"step": 1, "eval_rtd_skill": 0.2, "eval_generator_loss": 4.0}])
    page = report(tmp_path, a, b)
    assert re.findall(r'number best">([^<]*)<', page.text) == ["0.300", "4.000"]


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


def test_the_versions_are_shown_once_where_runs_share_them(tmp_path):
    runs = [make_run(tmp_path / name, steps=4) for name in "abc"]
    page = report(tmp_path, *runs)
    assert page.rows.count(["jax", "0.10.2"]) == 1
    write_json_atomic(runs[1] / "config.json", {"versions": {"jax": "0.11.0"}})
    page = report(tmp_path, *runs)
    assert page.rows.count(["jax", "0.10.2"]) == page.rows.count(["jax", "0.11.0"]) == 1


def test_equal_configurations_are_said_to_be(tmp_path):
    page = report(tmp_path, *[make_run(tmp_path / name, steps=4) for name in "ab"])
    assert "The configurations are the same." in page.text
