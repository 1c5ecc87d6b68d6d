"""The report: one file that needs nothing else, and survives any run."""

import json
import math
import re
import time

import numpy as np
import pytest
from reporting.pages import report, write_rows

from electra_jax.errors import UserError
from electra_jax.files import write_json_atomic
from electra_jax.reporting.page import write_report


def test_a_held_out_figure_at_the_top_says_of_which_step_it_is(tmp_path):
    """The kept step can be another one."""
    rows = [{"step": s, "eval_f1": f} for s, f in ((20, 0.5), (1040, 0.25), (1060, math.nan))]
    page = report(tmp_path, write_rows(tmp_path / "run", rows))
    tiles = re.findall(r'tile"><b>(.*?)</b><span>(.*?)</span>', page.text)
    assert tiles == [("0.250", "F1, held out, step 1,040")]


def test_a_run_without_figures_has_its_configuration_and_says_so(tmp_path):
    (tmp_path / "run").mkdir()
    write_json_atomic(tmp_path / "run" / "config.json", {"a": {"b": [1, "x"]}})
    page = report(tmp_path, tmp_path / "run")
    assert "no figures yet" in page.text
    assert ["a.b", '[1, "x"]'] in page.rows


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
