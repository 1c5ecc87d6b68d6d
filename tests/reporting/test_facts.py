"""What a page says of the data and the commands of a run."""

import json
from pathlib import Path

import pytest
from reporting.pages import report, write_rows
from tiny_run import make_rows

from electra_jax.files import write_json_atomic
from electra_jax.reporting.commands import record_start
from electra_jax.reporting.facts import data_facts
from electra_jax.reporting.runs import ReportedRun


def run_with(config):
    return ReportedRun("x", Path("x"), {}, config, [])


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows"))


def test_the_data_of_pretraining_is_that_of_its_rows(rows):
    header = json.loads((rows / "rows.json").read_text())
    data = {"path": str(rows), "fingerprint": header["fingerprint"]}
    facts = dict(data_facts(run_with({"data": data})))
    train = header["splits"]["train"]
    assert facts["training"] == (
        f"{train['documents']:,} documents, {train['tokens']:,} tokens, "
        f"{train['rows']:,} rows of 16"
    )
    assert facts["vocabulary"] == f"{header['vocab_size']} tokens"
    assert {"held out", "unknown tokens", "row positions filled"} <= set(facts)


def test_rows_that_were_replaced_or_removed_are_not_described(rows, tmp_path):
    model = {"vocab_size": 30522}
    for path in (str(rows), str(tmp_path / "gone"), None):
        config = {"data": {"path": path, "fingerprint": "another"}, "model": model}
        assert data_facts(run_with(config)) == [["vocabulary", "30,522 tokens"]]
    assert data_facts(run_with({})) == []


def test_the_data_of_fine_tuning_is_its_examples_and_labels(tmp_path):
    labels = [f"l{n}" for n in range(14)]
    data = {"path": str(tmp_path), "examples": 1200, "labels": labels}
    assert data_facts(run_with({"data": data})) == [
        ["training examples", "1,200"],
        ["14 labels", ", ".join(labels[:12]) + " …"],
    ]


def test_the_page_has_the_commands_and_the_date(tmp_path):
    run = write_rows(tmp_path / "mine", [{"step": 1, "loss": 1.0}])
    write_json_atomic(run / "config.json", {"data": {"examples": 3}})
    for n in range(10):
        record_start(run, ["electra-jax", "finetune", f"--config.a={n}<b>"])
    page = report(tmp_path, run)
    assert {"Data", "Commands"} <= set(page.headings)
    assert "… and 2 earlier starts" in page.text and "--config.a=9&lt;b&gt;" in page.text
    assert "--config.a=1&lt;" not in page.text and "=9<b>" not in page.text
    assert "started 2" in page.text
