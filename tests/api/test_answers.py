"""What a fine-tuned model answers, from Python and from the command line."""

import json

import pytest
from finetuning import tiny_task

import electra_jax
from electra_jax.cli import main
from electra_jax.errors import UserError

TEXTS = ["the bright film", "a dull house and a cruel man"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """(result, data folder) of a tiny classification."""
    folder = tmp_path_factory.mktemp("answers")
    model = tiny_task.make_model(folder)
    data = tiny_task.write_task(folder / "data", tiny_task.classification)
    config = tiny_task.configuration("classification", model, data)
    return electra_jax.finetune(config, folder / "w", quiet=True)[0], data


def test_a_folder_a_loaded_model_and_a_predictor_answer_alike(tuned):
    result, data = tuned
    predictor = electra_jax.Predictor(result.model)
    expected = predictor.predict(TEXTS)
    assert [set(a["probabilities"]) for a in expected] == [{"good", "bad"}] * 2
    for given in (result.model, electra_jax.load(result.model), predictor):
        assert electra_jax.predict(given, TEXTS) == expected
        assert electra_jax.evaluate(given, data / "dev.jsonl") == result.scores


def test_files_are_answered_and_scored_as_by_the_command_line(tuned, tmp_path, capsys):
    model, data = tuned[0].model, tuned[1]
    dev = data / "dev.jsonl"
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    assert electra_jax.predict(model, dev, a) == 48
    assert main(["predict", f"--model={model}", f"--input={dev}", f"--output={b}", "--quiet"]) == 0
    assert a.read_bytes() == b.read_bytes()
    capsys.readouterr()
    scores = electra_jax.evaluate(model, dev, output=tmp_path / "s.json", predictions=b)
    assert main(["evaluate", f"--model={model}", f"--data={dev}", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == scores
    assert json.loads((tmp_path / "s.json").read_text()) == scores
    assert a.read_bytes() == b.read_bytes()


def test_columns_have_other_names(tuned, tmp_path):
    model, data = tuned[0].model, tuned[1]
    lines = [json.loads(x) for x in (data / "dev.jsonl").read_text().splitlines()]
    renamed = [{"body": x["text"], "mark": x["label"]} for x in lines]
    file = tiny_task.write_jsonl(tmp_path / "dev.jsonl", renamed)
    columns = {"text": "body", "label": "mark"}
    found = electra_jax.evaluate(model, file, columns=columns)
    assert found == electra_jax.evaluate(model, data / "dev.jsonl")


def test_what_does_not_go_together_is_named(tuned, tmp_path):
    model = tuned[0].model
    predictor = electra_jax.Predictor(model)
    for arguments, options, named in [
        ((model, "a text"), {}, "name an output for the answers to the file a text"),
        ((model, TEXTS, tmp_path / "x"), {}, "an output goes with a file"),
        ((model, TEXTS), {"columns": {"text": "body"}}, "columns go with a file"),
        ((predictor, TEXTS), {"task": "sst2"}, "a Predictor has its task"),
        ((tmp_path, TEXTS), {}, "no model here"),
    ]:
        with pytest.raises(UserError, match=named):
            electra_jax.predict(*arguments, **options)
