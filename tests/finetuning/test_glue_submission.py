"""The GLUE submission: names, headers, labels, and what is refused."""

import math
import zipfile

import pytest

from electra_jax.cli import main
from electra_jax.errors import UserError
from electra_jax.finetuning.glue_submission import TEST_ROWS, submission_files, write_submission
from electra_jax.finetuning.task_table import TASKS


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def everything():
    def one(name):
        task = TASKS[name.removesuffix("_mismatched")]
        return {"score": 2.5} if name == "stsb" else {"label": task.labels[-1]}

    return {name: [one(name)] * rows for name, rows in TEST_ROWS.items()}


def test_a_whole_submission_has_the_official_files(tmp_path):
    written = write_submission(tmp_path / "glue.zip", everything())
    found = contents(tmp_path / "glue.zip")
    official = "CoLA SST-2 MRPC STS-B QQP MNLI-m MNLI-mm QNLI RTE WNLI AX".split()
    assert sorted(found) == sorted(written) == sorted(f"{name}.tsv" for name in official)
    for name, file in submission_files().items():
        lines = found[file].splitlines()
        assert lines[0] == "index\tprediction"
        assert len(lines) == TEST_ROWS[name] + 1
        assert lines[-1].split("\t")[0] == str(TEST_ROWS[name] - 1)
    assert found["RTE.tsv"].splitlines()[1] == "0\tnot_entailment"
    assert found["CoLA.tsv"].splitlines()[1] == "0\t1"
    assert not list(tmp_path.glob(".*"))


def test_scores_are_cut_to_the_range_and_have_three_decimals(tmp_path):
    rows = [{"score": s} for s in (-0.2, 3.14159, 5.7)]
    write_submission(tmp_path / "s.zip", {"stsb": rows}, partial=True)
    lines = contents(tmp_path / "s.zip")["STS-B.tsv"].splitlines()
    assert lines[1:] == ["0\t0.000", "1\t3.142", "2\t5.000"]


def test_row_numbers_put_predictions_in_the_official_order(tmp_path):
    rows = [{"id": str(i), "label": TASKS["rte"].labels[i % 2]} for i in (2, 0, 1)]
    write_submission(tmp_path / "r.zip", {"rte": rows}, partial=True)
    lines = contents(tmp_path / "r.zip")["RTE.tsv"].splitlines()
    assert lines[1:] == ["0\tentailment", "1\tnot_entailment", "2\tentailment"]
    named = [{"id": name, "label": "entailment"} for name in ("b", "a")]
    write_submission(tmp_path / "n.zip", {"rte": named}, partial=True)
    assert contents(tmp_path / "n.zip")["RTE.tsv"].splitlines()[1:] == [
        "0\tentailment",
        "1\tentailment",
    ]


def test_row_numbers_that_are_not_the_official_ones(tmp_path):
    whole = everything()
    rows = [{"id": str(i), **row} for i, row in enumerate(whole["wnli"])]
    twice = {**whole, "wnli": [*rows[:-1], rows[0]]}
    with pytest.raises(UserError, match="wnli: the id 0 comes twice"):
        write_submission(tmp_path / "g.zip", twice)
    beyond = {**whole, "wnli": [*rows[:-1], {**rows[0], "id": "5000"}]}
    with pytest.raises(UserError, match="wnli: the ids go up to 5000"):
        write_submission(tmp_path / "g.zip", beyond)
    assert not list(tmp_path.iterdir())


def test_the_same_predictions_give_the_same_zip(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_submission(tmp_path / name, {"rte": [{"label": "entailment"}]}, partial=True)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(
    ("predictions", "partial", "message"),
    [
        ({"rte": []}, False, r"missing: cola, sst2, .*mnli, mnli_mismatched, qnli, wnli, ax"),
        ({"sst": []}, True, r"not tasks of GLUE: sst; they are cola"),
        ({"rte": [{"label": "yes"}]}, True, r'rte: prediction 0 is "yes".*entailment, not_ent'),
        ({"stsb": [{"label": "1"}]}, True, r'stsb: prediction 0 has no "score"'),
        (
            {"stsb": [{"score": math.nan}]},
            True,
            "stsb: prediction 0 has the score nan, not a number",
        ),
        ({"stsb": [{"score": None}]}, True, "prediction 0 has the score None"),
        ({"sst2": [{"score": 1.0}]}, True, r'sst2: prediction 0 has no "label"'),
    ],
)
def test_what_the_server_would_refuse_is_refused(tmp_path, predictions, partial, message):
    with pytest.raises(UserError, match=message):
        write_submission(tmp_path / "x.zip", predictions, partial)
    assert not list(tmp_path.iterdir())


def test_a_zip_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*nowhere/x\.zip: No such file"):
        write_submission(tmp_path / "nowhere/x.zip", {"rte": []}, partial=True)


def test_a_test_set_cut_short_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"wnli has 145 predictions, its official test set 146"):
        write_submission(tmp_path / "x.zip", {**everything(), "wnli": [{"label": "0"}] * 145})


def test_the_command_line_reads_files_of_predictions(tmp_path, capsys):
    answers = tmp_path / "rte.jsonl"
    answers.write_text("".join('{"label": "entailment"}\n' for _ in range(3000)))
    output = tmp_path / "glue.zip"
    assert main(["submission", f"rte={answers}", f"--output={output}", "--partial"]) == 0
    assert "RTE.tsv" in capsys.readouterr().out
    assert zipfile.ZipFile(output).read("RTE.tsv").startswith(b"index\tprediction\n0\tentailment")
    assert main(["submission", f"rte={answers}", f"--output={tmp_path / 'b.zip'}"]) == 2
    assert "cola" in capsys.readouterr().err.lower()
    assert main(["submission", "rte", f"--output={output}"]) == 2
    assert "TASK=FILE" in capsys.readouterr().err
