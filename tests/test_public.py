"""The names of `electra_jax.__all__`: lazy, complete, and what the command line and README use."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from api.conftest import settings
from finetuning import tiny_task
from tiny_run import OVERRIDES, make_rows

import electra_jax
from electra_jax import cli

ROOT = Path(__file__).resolve().parents[1]
# The verbs whose function has another name.
RENAMED = {"vocab": "train_vocabulary", "demo": "run_demo", "config": "describe_config"}
COMMANDS = {
    "demo": ["--workdir=w"],
    "vocab": ["--input=a.txt", "--output=v"],
    "prepare": ["--input=a.txt", "--tokenizer=v", "--output=r"],
    "pretrain": ["--config=configs/pretrain.py:tiny", "--workdir=w"],
    "finetune": ["--config=configs/finetune.py:sst2", "--workdir=w"],
    "evaluate": ["--model=m", "--data=d"],
    "predict": ["--model=m", "--input=i", "--output=o"],
    "score": ["--model=m", "--input=i", "--output=o"],
    "submission": ["cola=c.jsonl", "--output=z.zip"],
    "sweep": ["--config=configs/pretrain.py:tiny", "--workdir=w", "--vary.train.seed=0,1"],
    "convert": ["a", "b"],
    "report": ["w"],
    "config": ["configs/pretrain.py:tiny"],
}


def test_every_public_name_is_there_documented_and_completed():
    assert electra_jax.__all__ == sorted(set(electra_jax.__all__))
    assert set(electra_jax.__all__) == set(electra_jax._PUBLIC) <= set(dir(electra_jax))
    for name in electra_jax.__all__:
        value = getattr(electra_jax, name)
        assert value.__name__ == name and len(inspect.getdoc(value)) > 20
    with pytest.raises(AttributeError, match="no attribute 'pretran'"):
        electra_jax.pretran  # noqa: B018


def test_type_checkers_see_the_same_names_in_the_same_places():
    tree = ast.parse((ROOT / "electra_jax" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"electra_jax.{room}" for name, room in electra_jax._PUBLIC.items()}


def test_the_import_is_light_and_the_names_come_when_asked_for():
    script = """
import sys, electra_jax
heavy = {"jax", "flax", "numpy", "tensorflow", "torch", "tokenizers", "ml_collections"}
print(sorted(heavy & set(sys.modules)))
electra_jax.ElectraConfig
from electra_jax import UserError
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "[]"]


def test_the_overview_and_a_verb_s_help_wait_for_nothing_heavy():
    script = """
import sys
from electra_jax.cli import main
heavy = {"jax", "flax", "numpy", "tensorflow", "torch", "tokenizers", "ml_collections"}
print(main(["--help"]), sorted(heavy & set(sys.modules)))
try:
    main(["predict", "--help"])
except SystemExit as ended:
    print(ended.code, sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("0 []\n") == 2


class Called(Exception):
    """Raised by the stand-in of a verb's function."""


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_calls_the_public_function_of_its_name(verb, monkeypatch):
    def stand_in(*_, **__):
        raise Called

    name = RENAMED.get(verb, verb)
    assert name in electra_jax.__all__
    monkeypatch.setattr(electra_jax, name, stand_in)
    with pytest.raises(Called):
        cli.main([verb, *COMMANDS[verb]])


def blocks(page="docs/python.md"):
    """The python blocks of a page, in order."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def test_readme_and_notebooks_use_public_names_alone():
    sources = blocks() + blocks("README.md")
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        sources.append(notebook.read_text(encoding="utf-8"))
    used = {name for text in sources for name in re.findall(r"electra_jax\.(\w+)\(", text)}
    assert {"load", "get_config", "pretrain", "finetune", "make_train_step"} <= used
    assert used <= set(electra_jax.__all__)
    for text in sources:
        assert not re.search(r"from electra_jax\S* import|import electra_jax\.", text)


def test_the_python_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    """On rows, reviews and settings of a test's size; everything else is as it stands there."""
    make_rows(tmp_path)
    data = tiny_task.write_task(tmp_path / "reviews", tiny_task.classification)
    (data / "test.jsonl").write_bytes((data / "dev.jsonl").read_bytes())
    small = {
        "pretrain": {**settings(OVERRIDES), "train.steps": 12},
        "finetune": settings(tiny_task.OVERRIDES),
    }
    whole = electra_jax.get_config

    def shrunk(name, overrides):
        given = {k: v for k, v in overrides.items() if k != "train.tokens"}
        return whole(name, {**given, **small[name.partition(":")[0]]})

    monkeypatch.setattr(electra_jax, "get_config", shrunk)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for number, block in enumerate(blocks()):
        exec(compile(block, f"docs/python.md, python block {number + 1}", "exec"), names)
    assert names["outputs"].logits.shape == names["inputs"].input_ids.shape
    assert names["outputs"].hidden_states.shape[:2] == (3, 2)
    assert (tmp_path / "runs/mine/model/discriminator/config.json").is_file()
    assert "accuracy" in capsys.readouterr().out
