"""`evaluate`, `predict`, `submission`, `report` on the command line, over a random classifier."""

import json
import subprocess
import sys

import pytest
from cli.commands import fails
from finetuning.tiny_task import write_jsonl
from inference.random_models import make_tuned
from tiny_run import environment

import electra_jax
from electra_jax.cli import main

ROWS = [{"text": "a bright film", "label": "good"}, {"text": "the dull day", "label": "bad"}]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder with the labels bad and good."""
    return make_tuned(tmp_path_factory.mktemp("model"), "classification", ("bad", "good"))


@pytest.fixture
def data(tmp_path):
    """A file of two labelled texts."""
    return write_jsonl(tmp_path / "in.jsonl", ROWS)


def test_answers_to_standard_output_leave_it_to_them(model, data, capsysbinary):
    assert main(["predict", f"--model={model}", f"--input={data}", "--output=-", "--quiet"]) == 0
    out, errors = capsysbinary.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert answers == electra_jax.predict(model, [row["text"] for row in ROWS])
    assert errors == b"-: 2 answers\n"


def test_columns_are_named_by_role(model, tmp_path, capsys):
    renamed = write_jsonl(
        tmp_path / "in.jsonl", [{"body": r["text"], "mark": r["label"]} for r in ROWS]
    )
    command = ["evaluate", f"--model={model}", f"--data={renamed}", "--quiet"]
    assert main([*command, "--columns", "text=body", "label=mark"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"accuracy", "macro_f1"}
    assert "--columns text: write ROLE=NAME" in fails(capsys, *command, "--columns", "text")
    assert "has no such column" in fails(capsys, *command, "--columns", "txt=body")


def test_scores_are_written_as_they_are_printed(model, data, tmp_path, capsys):
    output, answers = tmp_path / "scores.json", tmp_path / "answers.jsonl"
    options = [f"--output={output}", f"--predictions={answers}", "--quiet"]
    assert main(["evaluate", f"--model={model}", f"--data={data}", *options]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(output.read_text())
    assert len(answers.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["cola.jsonl"], "cola.jsonl: write TASK=FILE"),
        (["cola=nowhere.jsonl"], "nowhere.jsonl"),
        ([], "required: TASK=FILE"),
    ],
)
def test_a_submission_names_what_is_wrong(capsys, tmp_path, arguments, named):
    assert named in fails(capsys, "submission", *arguments, f"--output={tmp_path / 'g.zip'}")
    assert not (tmp_path / "g.zip").exists()


def test_a_report_prints_where_it_is(capsys, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert main(["report", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'run' / 'report.html'}\n"
    output = tmp_path / "new" / "page.html"
    assert main(["report", str(tmp_path / "run"), f"--output={output}"]) == 0
    assert output.is_file()
    assert "is not the workdir of a run" in fails(capsys, "report", tmp_path / "nowhere")


def test_lines_that_are_wrong_are_skipped_and_counted(model, tmp_path, capsys):
    source, answers = tmp_path / "in.jsonl", tmp_path / "new" / "answers.jsonl"
    lines = [json.dumps(ROWS[0]), "not json", json.dumps(ROWS[1]), '{"text": ""}']
    source.write_text("\n".join(lines) + "\n")
    predict = ["predict", f"--model={model}", f"--input={source}", f"--output={answers}", "--quiet"]
    assert f"{source}:2 is not JSON" in fails(capsys, *predict)
    assert not answers.exists()
    assert main([*predict, "--on_error=skip"]) == 0
    written = [json.loads(line) for line in answers.read_text().splitlines()]
    assert written[1] is written[3] is None
    alone = electra_jax.predict(model, [r["text"] for r in ROWS])
    assert [written[0], written[2]] == [alone[0], {**alone[1], "id": "2"}]  # lines keep their ids
    evaluate = ["evaluate", f"--model={model}", f"--data={source}", "--quiet", "--on_error=skip"]
    capsys.readouterr()
    assert main([*evaluate, f"--predictions={answers}"]) == 0
    assert [json.loads(line) for line in answers.read_text().splitlines()] == written
    good = write_jsonl(tmp_path / "good.jsonl", ROWS)
    assert json.loads(capsys.readouterr().out) == electra_jax.evaluate(model, good)


def test_a_pipe_is_answered(model, tmp_path):
    script = "import sys; from electra_jax.cli import main; sys.exit(main(sys.argv[1:]))"
    command = ["predict", f"--model={model}", "--input=-", "--output=-", "--on_error=skip"]
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        input='{"text": "a river"}\nnot json\n', capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert set(first["probabilities"]) == {"bad", "good"} and second is None
    assert "/dev/stdin: 1 line is wrong and answered by null" in done.stderr


def test_classes_are_a_table_beside_the_scores(model, data, capsys):
    command = ["evaluate", f"--model={model}", f"--data={data}"]
    assert main(command) == 0
    out, errors = capsys.readouterr()
    scores = json.loads(out)
    rows = {line.split()[0]: line.split()[1:] for line in errors.splitlines() if line}
    assert rows["class"] == ["precision", "recall", "F1", "support"]
    assert rows["bad"][-1] == rows["good"][-1] == "1"
    assert f"accuracy {scores['accuracy']:.1f} %" in errors
    assert main([*command, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
