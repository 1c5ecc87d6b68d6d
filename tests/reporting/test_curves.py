"""The charts of a page: which curves each has, and the legend."""

from reporting.pages import make_run, report, write_rows

from electra_jax.files import write_json_atomic


def test_one_run_has_all_sections_and_each_chart_its_curves(tmp_path):
    page = report(tmp_path, make_run(tmp_path / "mine"))
    assert page.headings == [
        "mine",
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


def test_the_legend_names_held_out_figures_only_where_there_are_some(tmp_path):
    without = report(tmp_path, write_rows(tmp_path / "a", [{"step": 1, "loss": 1.0}]))
    with_ = report(tmp_path, write_rows(tmp_path / "b", [{"step": 1, "eval_loss": 1.0}]))
    assert "held out</span>" not in without.text and "held out</span>" in with_.text
    assert without.text.count('<ul class="legend">') == 1


def test_a_reference_line_that_two_runs_share_is_drawn_once(tmp_path):
    runs = [write_rows(tmp_path / name, [{"step": 1, "loss": 1.0}]) for name in "ab"]
    for run, value in zip(runs, (2.0, 2.0), strict=True):
        write_json_atomic(run / "report.json", [{"title": "ln 2", "reference": {"loss": value}}])
    assert report(tmp_path, *runs).text.count('class="reference"') == 1
