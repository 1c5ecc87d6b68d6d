"""`score`: lists and files, n-best lists with a given and a chosen weight, bad lines, settings."""

import json
from pathlib import Path

import pytest

import electra_jax
from electra_jax.cli import main
from electra_jax.inference.scorer import Scorer

PAIR = Path(__file__).resolve().parents[1] / "training" / "b199300" / "pair" / "model"
TEXTS = ["the old river", "a garden in winter", "river"]


@pytest.fixture(scope="module")
def scorer():
    return Scorer(PAIR / "discriminator")


@pytest.fixture(scope="module")
def alone(scorer):
    return [score.score for score in scorer.scores(TEXTS)]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_list_and_a_file_have_the_same_scores(scorer, alone, tmp_path):
    found = electra_jax.score(scorer, TEXTS)
    assert [answer["score"] for answer in found] == pytest.approx(alone)
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n")
    settings = electra_jax.score(scorer, tmp_path / "in.txt", tmp_path / "out.jsonl")
    assert lines(tmp_path / "out.jsonl") == found
    assert settings["method"] == "originality" and settings["lines"] == 3
    assert json.loads((tmp_path / "out.settings.json").read_text()) == settings


def nbest(order, reference=None, step=1.0):
    hypotheses = [{"text": TEXTS[i], "score": -step * place} for place, i in enumerate(order)]
    return {"hypotheses": hypotheses} | ({} if reference is None else {"reference": reference})


def test_n_best_lists_are_ranked_by_both_scores(scorer, alone):
    (found,) = electra_jax.score(scorer, [nbest([0, 1, 2])], weight=0.5)
    totals = [-place + 0.5 * alone[place] for place in range(3)]
    assert [h["total"] for h in found["hypotheses"]] == pytest.approx(totals)
    assert found["best"] == totals.index(max(totals)) and found["text"] == TEXTS[found["best"]]
    assert electra_jax.score(scorer, [nbest([0, 1, 2])], weight=0)[0]["best"] == 0


def test_the_weight_is_chosen_by_the_errors_of_a_development_file(scorer, alone, tmp_path):
    # The model's favourite stands last and is right: it needs a weight.
    order = sorted(range(3), key=lambda i: alone[i])
    dev, source = tmp_path / "dev.jsonl", tmp_path / "in.jsonl"
    record = json.dumps(nbest(order, TEXTS[order[-1]], step=0.01)) + "\n"
    dev.write_text(record)
    source.write_text(record)
    settings = electra_jax.score(scorer, source, tmp_path / "out.jsonl", dev=dev)
    rates = settings["dev"]["error_rate"]
    assert rates["0"] > 0 and settings["weight"] > 0
    assert rates[f"{settings['weight']:g}"] == min(rates.values()) == 0
    assert settings["error_rate"] == {"0": rates["0"], f"{settings['weight']:g}": 0}
    assert lines(tmp_path / "out.jsonl")[0]["text"] == TEXTS[order[-1]]


def test_wrong_lines_stop_or_are_null(scorer, tmp_path, caplog):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "river"}\n{"text": ""}\n{"text": "stone"}\n')
    with pytest.raises(electra_jax.UserError, match=r"in\.jsonl:2: text is empty"):
        electra_jax.score(scorer, source, target)
    assert not target.exists()
    settings = electra_jax.score(scorer, source, target, on_error="skip")
    assert [line is None for line in lines(target)] == [False, True, False]
    assert settings["lines"] == 3 and settings["wrong"] == 1
    assert "1 of 3 lines are wrong and answered by null" in caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inputs": [nbest([0, 1])]}, "give the weight, or dev"),
        ({"inputs": ["a"], "weight": 1.0, "dev": "d"}, "dev chooses the weight"),
        ({"inputs": ["a"], "output": "o"}, "an output goes with a file of inputs"),
        ({"inputs": "a.txt"}, "name an output for the scores of the file a.txt"),
        ({"inputs": [7]}, "input 0 is neither a text nor a mapping"),
        ({"inputs": ["a"], "on_error": "hide"}, "choose one of stop, skip"),
    ],
)
def test_what_contradicts_itself_is_one_error(scorer, given, message):
    with pytest.raises(electra_jax.UserError, match=message):
        electra_jax.score(scorer, **given)


def test_a_development_file_needs_references(scorer, tmp_path):
    dev = tmp_path / "dev.jsonl"
    dev.write_text(json.dumps(nbest([0, 1])) + "\n")
    with pytest.raises(electra_jax.UserError, match="record 1 needs hypotheses and a reference"):
        electra_jax.score(scorer, [nbest([0, 1])], dev=dev)


def test_the_command_prints_the_settings(alone, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("\n".join(TEXTS) + "\n")
    command = ["score", f"--model={PAIR / 'discriminator'}", f"--input={tmp_path / 'in.txt'}"]
    assert main([*command, "--output=-", "--quiet"]) == 0
    out, errors = capsys.readouterr()
    scores = [json.loads(line)["score"] for line in out.splitlines()]
    assert scores == pytest.approx(alone)
    assert json.loads(errors.splitlines()[-1])["method"] == "originality"
    assert main([*command, f"--output={tmp_path / 'o.jsonl'}", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == 3
