"""Nothing in training/, reporting/ and pretraining/ knows a particular objective: no import, name,
metric or type test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from electra_jax.objectives.table import OBJECTIVES, known_metrics

PACKAGE = Path(__file__).resolve().parents[2] / "electra_jax"
ROOMS = ("training", "reporting", "pretraining")
# Modules of objectives/ that every objective shares.
SHARED = {"base", "table", "rng", "row_structure", "presentation"}


def breaches(source: str) -> list[str]:
    """What `source` says of a particular objective."""
    found = []
    words = {*OBJECTIVES, *(metric.key for metric in known_metrics())}
    classes = {cls.__name__ for cls in OBJECTIVES.values()} | {"PairObjective"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "electra_jax.objectives"
        ):
            modules = [node.module.partition("electra_jax.objectives")[2].lstrip(".")]
            modules = modules if modules[0] else [alias.name for alias in node.names]
            found += [f"{node.lineno}: imports {m}" for m in modules if m not in SHARED]
        elif isinstance(node, ast.Constant) and node.value in words:
            found.append(f"{node.lineno}: {node.value!r}")
        elif isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name in classes:
                found.append(f"{node.lineno}: {name}")
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            tested = ast.unparse(node.args[0])
            if tested.endswith(("objective", "objective.config")):
                found.append(f"{node.lineno}: isinstance of {tested}")
    return found


def test_training_names_no_objective():
    files = [file for room in ROOMS for file in sorted((PACKAGE / room).rglob("*.py"))]
    assert len(files) > len(ROOMS)
    found = {file.name: lines for file in files if (lines := breaches(file.read_text("utf-8")))}
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "from electra_jax.objectives.electra import ElectraObjective",
        "from electra_jax.objectives import masked_lm",
        "row['discriminator_auc']",
        "if name == 'electra': pass",
        "isinstance(run.objective, Objective)",
        "isinstance(objective.config, PairConfig)",
        "x = objectives.MaskedLMObjective",
    ],
)
def test_each_kind_of_breach_is_noticed(source):
    assert len(breaches(source)) >= 1
