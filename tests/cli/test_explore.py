"""`config` and `demo` on the command line."""

import json

import pytest
from cli.commands import fails

from electra_jax.cli import main
from electra_jax.config_file import load_config


def test_config_lists_every_field_with_what_was_given_marked(capsys):
    overrides = ("--config.train.tokens=1e9", "--config.optimizer.beta2=0.98")
    assert main(["config", "configs/pretrain.py:small", *overrides]) == 0
    text = capsys.readouterr().out
    assert "* marks 4 that differ" in text and max(map(len, text.splitlines())) <= 100
    assert "*   steps = None   (default: 1000000)\n        Length of the run. [int" in text
    assert "*   tokens = 1000000000.0   (default: None)" in text
    assert main(["config", "configs/finetune.py:sst2", "--json"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    config, _ = load_config(["--config=configs/finetune.py:sst2"])
    assert {k: rows[k]["value"] for k in ("task", "train.epochs")} == {
        "task": "sst2", "train.epochs": 3.0
    }  # fmt: skip
    assert {key.split(".")[0] for key in rows} == set(config)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere.py"], "nowhere.py"),
        (["configs/pretrain.py:smal"], "choose one of tiny, small"),
        (["configs/pretrain.py", "--config.train.stepz=1"], "did you mean config.train.steps?"),
        (["configs/pretrain.py", "--config.train.batch_size=0"], "train.batch_size=0"),
        (["configs/pretrain.py", "more"], "more"),
        ([], "FILE[:ARG]"),
    ],
)
def test_config_of_what_is_not_there(capsys, arguments, named):
    assert named in fails(capsys, "config", *arguments)
