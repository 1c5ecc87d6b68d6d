"""Nothing outside a kind's file tells kinds apart: not by string, dict or class."""

import ast
from pathlib import Path

import pytest

import electra_jax
from electra_jax.finetuning.kinds.table import KINDS

PACKAGE = Path(electra_jax.__file__).parent
NAMES = frozenset(KINDS)
EXAMPLES = ("TextExample", "TaggedExample", "ChoiceExample", "QuestionExample")
# Where kinds may be named: their files; the table of tasks names each row's, and compares none.
KINDS_FOLDER = "finetuning/kinds/"
# The formats' own names of heads, some of which are spelled like kinds.
FORMATS = "modeling/heads/"


def names_in(node: ast.AST) -> set[str]:
    """The names of kinds among a node's constants."""
    constants = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
    return NAMES.intersection(c for c in constants if isinstance(c, str))


def breaches(source: str) -> list[str]:
    """What a file does that only a kind's own file may."""
    found = []
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Compare):
            found += [f"{line}: compares with {name}" for name in names_in(node)]
        elif isinstance(node, ast.MatchValue):
            found += [f"{line}: matches {name}" for name in names_in(node)]
        elif isinstance(node, ast.Dict):
            keys = [key for key in node.keys if key is not None]
            found += [f"{line}: a dict by {n}" for key in keys for n in names_in(key)]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            classes = ast.unparse(node.args[1])
            found += [f"{line}: isinstance {n}" for n in EXAMPLES if n in classes]
    return found


def test_no_file_outside_the_kinds_tells_them_apart():
    files = [
        file
        for file in sorted(PACKAGE.rglob("*.py"))
        if not str(file.relative_to(PACKAGE)).startswith((KINDS_FOLDER, FORMATS))
    ]
    assert len(files) > 80
    wrong = [
        f"{file.relative_to(PACKAGE)}:{breach}"
        for file in files
        for breach in breaches(file.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        'if kind == "tagging": pass',
        'x = kind in ("multiple_choice", "ranking")',
        'T = {"regression": 1}',
        "x = isinstance(e, TextExample | TaggedExample)",
        'match kind:\n    case "classification": pass',
    ],
)
def test_the_test_sees_each_way_of_telling_them_apart(source):
    assert breaches(source)


def test_rows_may_name_their_kind():
    assert not breaches('row = _task("pos", "tagging", "accuracy")')


def test_each_kind_is_a_class_of_the_kinds_folder_with_its_name():
    for name, kind in KINDS.items():
        assert kind.name == name and type(kind).__module__.startswith(
            "electra_jax.finetuning.kinds"
        )
