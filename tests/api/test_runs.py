"""Training runs from Python: what they return, and that they are the command line's."""

import dataclasses
import shlex

import numpy as np
import pytest
from finetuning import tiny_task
from tiny_run import OVERRIDES, metric_rows, models

import electra_jax
from electra_jax.cli import main
from electra_jax.errors import UserError
from electra_jax.finetuning.result import read_result


def test_a_pretraining_run_says_where_everything_is(run):
    logged = metric_rows(run.workdir)
    assert run.steps == 24 and run.history() == logged
    assert run.metrics["loss"] == [r["loss"] for r in logged if "loss" in r][-1]
    held_out = [r for r in logged if "eval_loss" in r][-1]
    assert run.eval_metrics["rtd_skill"] == held_out["eval_rtd_skill"]
    assert set(run.models) == {"discriminator", "generator"} and run.report.is_file()
    pair = electra_jax.load(run.workdir)
    assert electra_jax.load(run.models["generator"]).kind == "generator" and pair.kind == "pair"
    assert electra_jax.load_tokenizer(run.tokenizer).hash == pair.tokenizer.hash


def test_the_function_and_the_command_line_train_the_same_model(run, rows, tmp_path):
    options = ["--quiet", "--config.train.log_every=1", f"--config.data.path={rows}"]
    assert main(["pretrain", f"--workdir={tmp_path / 'w'}", *OVERRIDES, *options]) == 0
    assert models(tmp_path / "w") == models(run.workdir)


def test_a_finished_run_is_returned_again_without_training(run, tiny, rows):
    config = electra_jax.get_config(
        "pretrain:tiny", {**tiny, "data.path": rows, "train.log_every": 1}
    )
    before = (run.workdir / "metrics.jsonl").read_bytes()
    assert electra_jax.pretrain(config, run.workdir, quiet=True) == run
    assert (run.workdir / "metrics.jsonl").read_bytes() == before


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two seeds of a tiny classification."""
    folder = tmp_path_factory.mktemp("finetune")
    model = tiny_task.make_model(folder)
    data = tiny_task.write_task(folder / "data", tiny_task.classification)
    config = tiny_task.configuration("classification", model, data, "--config.seeds=2")
    return electra_jax.finetune(config, folder / "w", quiet=True)


def test_several_seeds_are_a_sequence_with_statistics(results):
    assert len(results) == 2 and [r.seed for r in results] == [0, 1]
    scores = [r.score for r in results]
    assert results.score == pytest.approx(np.mean(scores)) == results.summary["mean"]
    assert results.metric == "accuracy" and results.best.score == max(scores)
    assert results.report.is_file() and results.report.parent == results.workdir
    for r in results:
        assert r.workdir == results.workdir / f"seed-{r.seed}"
        written = dataclasses.asdict(read_result(r.workdir))
        assert written == {n: getattr(r, n) for n in written}
        assert r.report.is_file() and len(r.predictions.read_text().splitlines()) == 48
        assert r.history()[-1]["eval_accuracy"] is not None


def test_the_best_seed_is_one_with_a_model(results, tmp_path):
    nan, without = (
        dataclasses.replace(results[0], score=score, workdir=folder)
        for score, folder in ((float("nan"), results[0].workdir), (99.0, tmp_path))
    )
    found = dataclasses.replace(results, seeds=(nan, without, results[1]))
    assert found.best is results[1]
    with pytest.raises(UserError, match="no seed produced a model"):
        dataclasses.replace(results, seeds=(without,)).best  # noqa: B018


def test_a_sweep_runs_what_the_command_line_would(tmp_path, capsys):
    vary, shared = {"train.seed": [0, 1]}, {"data.path": "rows/", "train.steps": 5}
    options = {"through": "start --", "dry_run": True}
    assert electra_jax.sweep("pretrain:tiny", tmp_path, vary, shared, **options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["seed=0", "seed=1"]
    assert shlex.split(lines[1].partition(": ")[2]) == [
        "start", "--", "--config=pretrain:tiny", "--config.data.path=rows/",
        "--config.train.steps=5", "--config.train.seed=1", f"--workdir={tmp_path}/seed=1",
    ]  # fmt: skip
    with pytest.raises(UserError, match="verb='evaluate'"):
        electra_jax.sweep("pretrain:tiny", tmp_path, vary, verb="evaluate")
    with pytest.raises(UserError, match=r"did you mean config\.train\.seed"):
        electra_jax.sweep("pretrain:tiny", tmp_path, {"train.sed": [1]})


def test_a_report_of_one_run_and_of_several(run, results, tmp_path):
    assert electra_jax.report(run.workdir) == run.workdir / "report.html"
    page = electra_jax.report([r.workdir for r in results], tmp_path / "page.html")
    assert page.read_text().count("seed-1") > 0
    with pytest.raises(UserError, match="no workdir"):
        electra_jax.report([])
