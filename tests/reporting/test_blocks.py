"""What a run writes into report.json is shown."""

import re

from reporting.pages import make_run, report

from electra_jax.files import write_json_atomic


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
    table = {"columns": ["figure", "value"], "rows": [["skill", "0.155 %"], ["loss", 4.25]]}
    block = {"title": "both", "html": "<em>last</em>", "table": table, "text": "first"}
    write_json_atomic(run / "report.json", [block])
    page = report(tmp_path, run)
    assert page.rows[:3] == [["figure", "value"], ["skill", "0.155 %"], ["loss", "4.250"]]
    assert "<td class=number>0.155 %</td>" in page.text
    places = [page.text.index(part) for part in (">first</p>", "0.155", "<em>last</em>")]
    assert places == sorted(places)


def test_blocks_of_several_runs_are_folded_under_each_runs_name(tmp_path):
    runs = [make_run(tmp_path / name) for name in "ab"]
    for run in runs:
        write_json_atomic(run / "report.json", [{"title": "note", "text": f"of {run.name}"}])
    page = report(tmp_path, *runs)
    assert page.headings.count("note") == 2
    assert "of a" in page.text and "of b" in page.text
