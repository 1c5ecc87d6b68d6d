"""Sweeps: every combination once, resumable, with a table at the end."""

import shlex
import sys

import pytest
from tiny_run import OVERRIDES, make_rows, metric_rows

from electra_jax.api.sweep import combinations, run_all, table
from electra_jax.cli import main
from electra_jax.errors import UserError

CONFIG = ["--config=configs/pretrain.py:tiny"]
VARY = ["--vary.optimizer.learning_rate=1e-3,2e-3", "--vary.train.seed=0,1"]


def test_names_are_short_and_never_alike():
    runs = combinations({"optimizer.learning_rate": ["1e-3", "2e-3"], "data.path": ["a/b"]})
    assert runs == {
        "learning_rate=1e-3,path=a_b": [
            "--config.optimizer.learning_rate=1e-3",
            "--config.data.path=a/b",
        ],
        "learning_rate=2e-3,path=a_b": [
            "--config.optimizer.learning_rate=2e-3",
            "--config.data.path=a/b",
        ],
    }
    assert list(combinations({"a.x": ["1"], "b.x": ["2"]})) == ["a.x=1,b.x=2"]
    for wrong in ({}, {"a": []}, {"a": ["1", "1"]}):
        with pytest.raises(UserError):
            combinations(wrong)


def test_a_dry_run_prints_the_commands(tmp_path, capsys):
    through = ["--through=launch/slurm.sh --gpus=8 --"]
    assert main(["sweep", *CONFIG, f"--workdir={tmp_path}", *VARY, *through, "--dry_run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    name, _, command = lines[1].partition(": ")
    assert name == "learning_rate=1e-3,seed=1"
    assert shlex.split(command) == [
        "launch/slurm.sh", "--gpus=8", "--", *CONFIG, "--config.optimizer.learning_rate=1e-3",
        "--config.train.seed=1", f"--workdir={tmp_path}/{name}",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "key", "verb"),
    [("pretrain.py:tiny", "train.seed", "pretrain"), ("finetune.py:sst2", "init", "finetune")],
)
def test_the_verb_is_what_the_configuration_is_for(tmp_path, capsys, file, key, verb):
    command = ["sweep", f"--config=configs/{file}", f"--workdir={tmp_path}", f"--vary.{key}=1,2"]
    assert main([*command, "--dry_run"]) == 0
    assert capsys.readouterr().out.count(f"-m electra_jax {verb} --config") == 2
    other = {"pretrain": "finetune", "finetune": "pretrain"}[verb]
    assert main([*command, "--dry_run", f"--verb={verb}"]) == 0
    assert main([*command, "--dry_run", f"--verb={other}"]) == 2
    assert f"is a configuration of {verb}, not of {other}" in capsys.readouterr().err


def test_a_key_that_does_not_exist_stops_the_sweep_before_its_first_run(tmp_path, capsys):
    arguments = [*CONFIG, f"--workdir={tmp_path}", "--vary.optimizer.learning_rat=1"]
    assert main(["sweep", *arguments]) == 2
    assert "did you mean config.optimizer.learning_rate?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_runs_that_fail_and_runs_that_are_done(tmp_path, capfd):
    """A stand-in for the runs: it notes its seed, fails for 1, and is stopped for 3."""
    script = (
        "import sys, pathlib; seed, workdir = sys.argv[-2:];"
        "folder = pathlib.Path(workdir.partition('=')[2]); folder.mkdir(parents=True);"
        'line = \'{"step": 8, "loss": 0.5, "eval_loss": \' + seed[-1] + \'}\\n\';'
        "(folder / 'metrics.jsonl').write_text(line);"
        "(folder / ('report.html' if seed[-1] == '0' else 'x')).touch();"
        "sys.exit({'1': 1, '3': 143}.get(seed[-1], 0))"
    )
    through = shlex.join([sys.executable, "-c", script])
    assert (
        run_all("pretrain", tmp_path, CONFIG, {"train.seed": ["0", "1", "2"]}, through=through) == 1
    )
    out, errors = capfd.readouterr()
    assert out.splitlines()[3:7] == [
        "run     step   loss",
        "seed=0     8      0",
        "seed=1     8  1.000",
        "seed=2     8  2.000",
    ]
    assert errors == "seed=1: ended with 1\n"
    assert (tmp_path / "report.html").stat().st_size > 1000
    codes = {"train.seed": ["0", "3", "4"]}
    assert run_all("pretrain", tmp_path, CONFIG, codes, through=through) == 143
    assert "seed=0: done" in capfd.readouterr().out
    assert not (tmp_path / "seed=4").exists()


def test_a_table_shows_what_its_runs_have():
    runs = {"a": [{"step": 4, "loss": 2.0}], "b": [{"step": 4, "loss": 1.0, "rtd_skill": None}]}
    assert table(runs) == ["run  step   loss", "a       4  2.000", "b       4  1.000"]


@pytest.mark.slow
def test_a_real_sweep(tmp_path, capfd):
    rows = make_rows(tmp_path)
    arguments = [*OVERRIDES, f"--config.data.path={rows}", f"--workdir={tmp_path / 'sweep'}"]
    assert main(["sweep", *arguments, VARY[0]]) == 0
    for rate in ("1e-3", "2e-3"):
        assert metric_rows(tmp_path / "sweep" / f"learning_rate={rate}")[-1]["step"] == 24
    assert "rtd_skill" in capfd.readouterr().out
