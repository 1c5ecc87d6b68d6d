"""Answers for inputs and files: in order, in blocks, whole or not at all."""

import gzip
import json
import os
import random

import pytest
from finetuning import tiny_task
from finetuning.tiny_task import configuration, write_jsonl

from electra_jax.cli import main
from electra_jax.errors import UserError
from electra_jax.finetuning.restarts import finetune
from electra_jax.inference import predictor as module
from electra_jax.inference.predictor import Predictor


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model folder fine-tuned for two labels, and its data folder."""
    folder = tmp_path_factory.mktemp("tiny")
    model = tiny_task.make_model(folder)
    data = tiny_task.write_task(folder / "data", tiny_task.classification)
    config = configuration("classification", model, data, "--config.train.steps=80")
    finetune(config, folder / "run", quiet=True)
    return folder / "run/model", data


@pytest.fixture(scope="module")
def predictor(tiny):
    return Predictor(tiny[0])


def test_a_few_inputs(predictor):
    answers = predictor.predict(["a bright film", "the dull day", "a lovely story"])
    assert [a["label"] for a in answers] == ["good", "bad", "good"]
    assert all(sum(a["probabilities"].values()) == pytest.approx(1.0) for a in answers)


def test_one_text_costs_one_row_and_has_the_answer_it_has_among_others(predictor, monkeypatch):
    texts = ["a bright film", "the dull day", "a lovely story", "a dull film", "the bright day"]
    rows = []
    stack = module.Plan.stack
    monkeypatch.setattr(
        module.Plan, "stack", lambda *a: rows.append(len((b := stack(*a))["weight"])) or b
    )
    together = predictor.predict(texts)
    alone = [predictor.predict([text])[0] for text in texts]
    assert rows == [16, 1, 1, 1, 1, 1]
    for one, same in zip(alone, together, strict=True):
        assert one["probabilities"] == pytest.approx(same["probabilities"], abs=1e-6)


def test_evaluation_writes_its_answers(tiny, tmp_path, capsys):
    model, data = tiny
    dev, output = data / "dev.jsonl", tmp_path / "answers.jsonl"
    command = ["evaluate", f"--model={model}", f"--data={dev}", f"--predictions={output}"]
    assert main([*command, "--quiet"]) == 0
    scores = json.loads(capsys.readouterr().out)
    gold = [json.loads(x)["label"] for x in dev.read_text().splitlines()]
    said = [json.loads(x)["label"] for x in output.read_text().splitlines()]
    right = sum(a == b for a, b in zip(gold, said, strict=True))
    assert scores["accuracy"] == pytest.approx(100 * right / len(gold))
    assert main([*command, f"--output={tmp_path / 'scores.json'}"]) == 0
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
    assert "evaluate" in capsys.readouterr().err


def test_outputs_never_replace_what_is_read_or_a_link(tiny, tmp_path, capsysbinary):
    model, _ = tiny
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a bright film", "label": "good"}])
    before = source.read_text()
    predict = ["predict", f"--model={model}", f"--input={source}", "--quiet"]
    evaluate = ["evaluate", f"--model={model}", f"--data={source}", "--quiet"]
    (tmp_path / "same.jsonl").symlink_to(source)
    for command in (
        [*predict, f"--output={source}"],
        [*predict, f"--output={tmp_path / 'same.jsonl'}"],
        [*evaluate, f"--output={source}"],
        [*evaluate, f"--output={tmp_path / 'x'}", f"--predictions={tmp_path / 'x'}"],
    ):
        assert main(command) == 2 and source.read_text() == before
    assert b"name another output file" in capsysbinary.readouterr().err
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "target.jsonl")
    assert main([*predict, f"--output={tmp_path / 'link.jsonl'}"]) == 0
    assert (tmp_path / "link.jsonl").is_symlink()
    answer = (tmp_path / "target.jsonl").read_bytes()
    capsysbinary.readouterr()
    assert main([*predict, "--output=-"]) == 0
    assert capsysbinary.readouterr().out == answer and not (tmp_path / "-").exists()
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert main([*predict, f"--output={tmp_path / 'pipe'}"]) == 0
    assert os.read(reader, 10**6) == answer
    os.close(reader)


def test_texts_that_are_cut_are_told(predictor, caplog):
    predictor.predict(["the film " * 40, "a film"])
    assert "texts cut at 32 tokens: 1 (max_length" in caplog.text


def test_more_of_a_text_is_read_than_in_training(tiny, tmp_path, caplog):
    """Only the last words differ: the model trained on 32 tokens sees them with `max_length`."""
    texts = ["the film " * 16 + end for end in ("was bright", "and a dull house")]
    cut = Predictor(tiny[0]).predict(texts)
    assert cut[0]["probabilities"] == pytest.approx(cut[1]["probabilities"], abs=1e-6)
    caplog.clear()
    longer = Predictor(tiny[0], max_length=48).predict(texts)
    apart = abs(longer[0]["probabilities"]["good"] - longer[1]["probabilities"]["good"])
    assert apart > 1e-5 and caplog.text == ""
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    assert main(["predict", f"--model={tiny[0]}", f"--input={source}",
                 f"--output={tmp_path / 'out.jsonl'}", "--max_length=48"]) == 0  # fmt: skip
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in lines] == [x["label"] for x in longer]


@pytest.mark.parametrize("length", [7, 10_000])
def test_a_length_that_the_model_cannot_read_is_refused(tiny, length):
    with pytest.raises(UserError, match=rf"max_length={length}: .* reads 8 to [\d,]+ tokens"):
        Predictor(tiny[0], max_length=length)


@pytest.mark.parametrize("wrong", [[""], ["  "], [("a", "b", "c")], [3], [None]])
def test_inputs_that_are_none(predictor, wrong):
    with pytest.raises(UserError, match="input 0"):
        predictor.predict(wrong)
    with pytest.raises(UserError, match="takes a list"):
        predictor.predict("a film")


def test_files_are_answered_in_order_whatever_the_block(predictor, tmp_path, monkeypatch):
    draw = random.Random(9)
    rows = [{"id": f"n{i}", **row} for i, row in enumerate(tiny_task.classification(draw, 50))]
    for row in rows:
        del row["label"]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    assert predictor.predict_file(str(source), tmp_path / "whole.jsonl", quiet=True) == 50
    monkeypatch.setattr(module, "BLOCK", 7)
    predictor.predict_file(str(source), tmp_path / "blocks.jsonl.gz", quiet=True)
    whole = [json.loads(x) for x in (tmp_path / "whole.jsonl").read_text().splitlines()]
    with gzip.open(tmp_path / "blocks.jsonl.gz", "rt") as stream:
        blocks = [json.loads(x) for x in stream]
    assert [a["id"] for a in whole] == [f"n{i}" for i in range(50)]
    assert [a["label"] for a in blocks] == [a["label"] for a in whole]
    assert not list(tmp_path.glob(".*partial"))


def test_only_a_block_is_held(predictor, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield predictor._example(taken, "a bright film")

    answers = predictor.answers(endless())
    for _ in range(9):
        next(answers)
    assert taken == 12


def test_evaluation_holds_no_texts_and_says_what_is_wrong_before_it_answers(
    tiny, predictor, tmp_path, monkeypatch
):
    kept = []
    codec = type(predictor.trained.codec)
    score = codec.score
    monkeypatch.setattr(
        codec, "score", lambda self, gold, said: kept.extend(gold) or score(self, gold, said)
    )
    predictor.evaluate(str(tiny[1] / "dev.jsonl"))
    assert len(kept) == 48 and all(e.texts == () and e.label for e in kept)
    rows = [{"text": "a film", "label": "good"}, {"text": "a film", "label": ["odd"]}]
    wrong = write_jsonl(tmp_path / "dev.jsonl", rows)
    monkeypatch.setattr(predictor, "_forward", None)
    with pytest.raises(UserError, match=r"dev\.jsonl:2: the label is \[.odd.\]"):
        predictor.evaluate(str(wrong))
    wrong.write_text("")
    with pytest.raises(UserError, match="no examples"):
        predictor.evaluate(str(wrong))


def test_labels_that_are_missing_or_unseen_are_said_once_and_score_nothing(
    predictor, tmp_path, caplog
):
    names = ("good", "odd", None, "bad", -1)
    texts = ("a bright film", "a dull film", "a day", "a dull day", "a day")
    rows = [{"text": t, "label": name} for t, name in zip(texts, names, strict=True)]
    path = write_jsonl(tmp_path / "dev.jsonl", rows)
    answers = tmp_path / "answers.jsonl"
    scores = predictor.evaluate(str(path), predictions=answers)
    assert scores["accuracy"] == pytest.approx(200 / 3)
    assert [json.loads(x)["id"] for x in answers.read_text().splitlines()] == ["0", "1", "3"]
    (missing, unseen) = [r.getMessage() for r in caplog.records]
    assert '2 of 5 labels are missing (1 × "null", first at' in missing and ":3;" in missing
    assert '1 of 5 labels do not occur in training (1 × "odd", first at' in unseen


def test_a_model_of_tables_without_a_header_reads_others_so(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.csv").write_text("x,a bright film\ny,a dull day\n" * 8)
    config = configuration(
        "classification", tiny_task.make_model(tmp_path), data, "--config.data.header=no",
        "--config.data.columns.text=1", "--config.data.columns.label=0", "--config.train.steps=1",
    )  # fmt: skip
    finetune(config, tmp_path / "run", quiet=True)
    predictor = Predictor(tmp_path / "run/model")
    table = tmp_path / "dev.csv"
    table.write_text("x,a bright film\ny,a dull day\n")
    assert predictor.evaluate(str(table), predictions=tmp_path / "out.jsonl")["accuracy"] >= 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    assert predictor.predict_file(str(table), tmp_path / "out.jsonl", quiet=True) == 2


def test_undefined_scores_are_null(tmp_path, capsys):
    data = tiny_task.write_task(tmp_path / "data", tiny_task.regression)
    model = tiny_task.make_model(tmp_path)
    config = configuration("regression", model, data, "--config.train.steps=4")
    finetune(config, tmp_path / "run", quiet=True)
    one = write_jsonl(tmp_path / "one.jsonl", [{"text": "a film", "score": 1.0}])
    output = tmp_path / "scores.json"
    command = ["evaluate", f"--model={tmp_path / 'run/model'}", f"--data={one}", "--quiet"]
    assert main([*command, f"--output={output}"]) == 0
    for text in (capsys.readouterr().out, output.read_text()):
        assert "NaN" not in text and json.loads(text)["pearson"] is None


def test_the_command_line(tiny, tmp_path, capsys):
    model, data = tiny
    arguments = [f"--model={model}", f"--data={data / 'dev.jsonl'}"]
    assert main(["evaluate", *arguments, f"--output={tmp_path / 'scores.json'}"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["accuracy"] > 80
    assert json.loads((tmp_path / "scores.json").read_text()) == printed
    renamed = write_jsonl(tmp_path / "in.jsonl", [{"body": "a cold house"}, {"body": "a kind man"}])
    output = tmp_path / "out.jsonl"
    command = ["predict", f"--model={model}", f"--input={renamed}", f"--output={output}", "--quiet"]
    assert main([*command, "--columns", "text=body"]) == 0
    assert [json.loads(x)["label"] for x in output.read_text().splitlines()] == ["bad", "good"]


def test_mappings_are_read_by_the_columns_of_training(tiny, tmp_path):
    model, data = tiny
    for split in ("train", "dev"):
        rows = map(json.loads, (data / f"{split}.jsonl").read_text().splitlines())
        renamed = [{"text": "a film", "body": r["text"], "label": r["label"]} for r in rows]
        write_jsonl(tmp_path / f"{split}.jsonl", renamed)
    flags = ("--config.data.columns.text=body", "--config.train.steps=4")
    config = configuration("classification", model, tmp_path, *flags)
    finetune(config, tmp_path / "run", quiet=True)
    predictor = Predictor(tmp_path / "run/model")
    rows = [{"text": "a bright film", "body": "the dull day"}, {"body": "a bright film"}]
    answers = predictor.predict([{**row, "id": "x"} for row in rows])
    assert answers == predictor.predict([{"body": r["body"], "id": "x"} for r in rows])
    assert [a["probabilities"] for a in answers] == [
        pytest.approx(a["probabilities"], abs=1e-6)
        for a in predictor.predict(["the dull day", "a bright film"])
    ]
    with pytest.raises(UserError, match=r"input 0 has no column for the text .*looked for body"):
        predictor.predict([{"text": "a film"}])


def test_a_file_is_read_as_in_training_whatever_else_is_in_it(tiny, predictor, tmp_path):
    row = {"text": "a bright film", "question": "the dull day", "sentence": "a cold house"}
    source, output = write_jsonl(tmp_path / "in.jsonl", [row]), tmp_path / "out.jsonl"
    assert predictor.predict_file(str(source), output, quiet=True) == 1
    (alone,) = predictor.predict(["a bright film"])
    assert json.loads(output.read_text())["probabilities"] == alone["probabilities"]
    with pytest.raises(UserError, match=r"trained on one text \(text\)"):
        predictor.predict([{"question": "a film", "sentence": "a film"}])


def test_questions_as_mappings_are_read_as_a_line_of_a_file(tmp_path):
    model = tiny_task.make_model(tmp_path)
    data = tiny_task.write_task(tmp_path / "data", tiny_task.question_answering)
    length = ("--config.train.steps=2", "--config.data.max_query_length=8")
    config = configuration("question_answering", model, data, *length)
    finetune(config, tmp_path / "run", quiet=True)
    predictor = Predictor(tmp_path / "run/model")
    (answer,) = predictor.predict([{"id": "abc", "question": "a man", "context": "the film"}])
    assert answer["id"] == "abc"
    for wrong, message in (
        ({"question": "a man"}, 'input 0 has no "context"'),
        ({"question": 5, "context": "the film"}, 'input 0: "question" holds 5, not a text'),
        ({"question": "a man", "context": None}, '"context" holds null'),
        ({"question": " ", "context": "the film"}, '"question" is empty'),
        ("a man", "input 0: not an input of question_answering"),
    ):
        with pytest.raises(UserError, match=message):
            predictor.predict([wrong])


def test_what_is_wrong_in_the_last_line_is_said_before_any_work(predictor, tmp_path, monkeypatch):
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a film"}] * 3 + [{"text": ""}])
    monkeypatch.setattr(predictor, "_forward", None)
    with pytest.raises(UserError, match=r"in\.jsonl:4: the text .* is empty"):
        predictor.predict_file(str(source), tmp_path / "out.jsonl", quiet=True)


def test_a_null_threshold_is_for_questions_that_may_have_no_answer(tiny):
    with pytest.raises(
        UserError, match=r"null_threshold=3\.0: classification always has an answer"
    ):
        Predictor(tiny[0], null_threshold=3.0)


def wrong_inputs(folder):
    yield "no such", None
    yield "in.jsonl:2", '{"text": "a film"}\nnot json\n'
    yield "in.jsonl:1", '{"title_of_it": 3}\n'
    yield "in.jsonl:2", '{"text": "a film"}\n{"text": " "}\n'


@pytest.mark.parametrize("number", range(4))
def test_wrong_input_files_leave_no_output(tiny, tmp_path, capsys, number):
    message, content = list(wrong_inputs(tmp_path))[number]
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    if content is not None:
        source.write_text(content)
    command = [
        "predict",
        f"--model={tiny[0]}",
        f"--input={source}",
        f"--output={output}",
        "--quiet",
    ]
    assert main(command) == 2
    errors = capsys.readouterr().err
    assert message in errors.lower() or message in errors
    assert "Traceback" not in errors
    assert not output.exists() and not list(tmp_path.glob(".*partial"))


def test_models_without_this_task_are_refused(tiny, tmp_path):
    model, _ = tiny
    with pytest.raises(UserError, match="not fine-tuned"):
        Predictor(tiny_task.save_encoder(tmp_path / "encoder", model))
    with pytest.raises(UserError, match="tagging"):
        Predictor(model, "ner")
    with pytest.raises(UserError, match="labels"):
        Predictor(model, "mnli")
