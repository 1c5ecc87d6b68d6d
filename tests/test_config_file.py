"""Configurations from Python: the same values as from the command line, wrong ones named."""

from pathlib import Path

import pytest

from electra_jax.config_file import get_config, load_config
from electra_jax.errors import UserError


def test_overrides_are_those_of_the_command_line():
    found = get_config(
        "pretrain:small",
        {
            "data.path": Path("rows"),
            "train.tokens": 1e6,
            "optimizer.freeze": ("layer_0",),
            "train.wandb": {"project": "electra"},
            "model.hidden_size": 64,
        },
    )
    config, _ = load_config(
        [
            "--config=configs/pretrain.py:small",
            "--config.data.path=rows",
            "--config.train.tokens=1e6",
            "--config.optimizer.freeze=('layer_0',)",
            "--config.train.wandb={'project': 'electra'}",
            "--config.model.hidden_size=64",
        ]
    )
    assert found == config
    assert found["train"]["steps"] is None and found["data"]["path"] == "rows"


@pytest.mark.parametrize("name", ["finetune:sst2", "finetune.py:sst2", "configs/finetune.py:sst2"])
def test_a_shipped_configuration_has_short_names(name):
    config, _ = load_config(["--config=configs/finetune.py:sst2"])
    assert get_config(name) == config == load_config([f"--config={name}"])[0]
    assert get_config("finetune")["task"] == "classification"


def test_a_file_of_one_s_own(tmp_path):
    text = "from ml_collections import ConfigDict\ndef get_config(n='3'):\n    c = ConfigDict()\n"
    (tmp_path / "mine.py").write_text(text + "    c.a = ConfigDict({'b': int(n)})\n    return c\n")
    assert get_config(f"{tmp_path}/mine.py") == {"a": {"b": 3}}
    assert get_config(f"{tmp_path}/mine.py:7", {}) == {"a": {"b": 7}}
    assert get_config(f"{tmp_path}/mine.py:7", {"a.b": 8}) == {"a": {"b": 8}}
    with pytest.raises(UserError, match=r"mine\.py: ValueError: invalid literal for int"):
        get_config(f"{tmp_path}/mine.py:x")


@pytest.mark.parametrize(
    ("name", "overrides", "named"),
    [
        ("pretrain:small", {"train.stps": 3}, r"train\.stps: .*did you mean train\.steps\?"),
        ("pretrain:small", {"xyz": 3}, r"xyz: .*valid here: .*train"),
        ("pretrain:small", {"train": 3}, r"train: it is a group of fields"),
        ("pretrain:small", {"train.steps": "ten"}, r"train\.steps='ten'"),
        ("pretrain:small", {"data.path": 3}, r"data\.path=3"),
        ("pretrain:huge", None, "choose one of tiny, small"),
        ("nowhere:small", None, "ships finetune.py, pretrain.py"),
        ("finetune:sst3", None, "did you mean sst2"),
        ("finetune:bogus", None, r'unknown task "bogus"; the tasks are'),
        ("pretrain:small", {"learning_rate": 3}, r"did you mean optimizer\.learning_rate\?"),
        ("pretrain:small", {"data.seed": 3}, r"data\.seed: .*did you mean train\.seed\?"),
        (
            "pretrain:small",
            {"hidden_size": 3},
            r"did you mean model\.(generator\.)?hidden_size or model\.(generator\.)?hidden_size\?",
        ),
    ],
)
def test_what_is_wrong_is_named(name, overrides, named):
    with pytest.raises(UserError, match=named):
        get_config(name, overrides)


def test_one_unit_of_a_duration_replaces_the_default():
    config, _ = load_config(["--config=configs/pretrain.py:small", "--config.train.tokens=1e6"])
    assert config["train"]["tokens"] == 1e6 and config["train"]["steps"] is None


def test_the_arguments_of_wandb_are_a_dict():
    for file in ("pretrain.py:small", "finetune.py:sst2"):
        given = "--config.train.wandb={'project': 'electra', 'tags': ['a']}"
        config, _ = load_config([f"--config=configs/{file}", given])
        assert config["train"]["wandb"] == {"project": "electra", "tags": ["a"]}


@pytest.mark.parametrize(("verb", "other"), [("pretrain", "finetune"), ("finetune", "pretrain")])
def test_the_suggested_configuration_is_the_verb_s_own(verb, other):
    with pytest.raises(UserError, match=f"such as --config=configs/{verb}.py:"):
        load_config(["--config.train.steps=3"], verb)
    with pytest.raises(UserError, match=f"is a configuration of {other}: run electra-jax {other}"):
        load_config([f"--config=configs/{other}.py"], verb)
    assert load_config([f"--config=configs/{verb}.py"], verb)[0]
