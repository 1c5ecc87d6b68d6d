"""The import rules of ARCHITECTURE.md, and the lightness of `import electra_jax`."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "electra_jax"

# A room may import itself and those before it. The files of BELOW_ALL stand below all.
ROOMS = [
    "config",
    "flops",
    "text",
    "data",
    "preparation",
    "modeling",
    "interop",
    "objectives",
    "training",
    "reporting",
    "pretraining",
    "finetuning",
    "inference",
    "demo",
    "config_file",
    "api",
    "cli",
]
BELOW_ALL = ["errors", "files", "messages", "plugins"]

MOST_OF_A_FILE = 400  # lines
MOST_OF_A_FUNCTION = 80
# What is longer and waits to be split; nothing is added here.
LONG: set[tuple[str, str]] = set()


class Import(NamedTuple):
    """One imported module name, and whether it is loaded as soon as the file is."""

    module: str
    line: int
    at_module_level: bool


def imports_of(source: str, package: str = "") -> list[Import]:
    """All imports of a file; `package` is its dotted parent, for relative ones."""
    found: list[Import] = []

    def names(node: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        parent = node.module or ""
        if node.level:
            kept = package.split(".")[: len(package.split(".")) - node.level + 1]
            parent = ".".join([*kept, *filter(None, [node.module])])
        # `from electra_jax import text` names a room only in its second half.
        return [f"{parent}.{alias.name}" for alias in node.names]

    def visit(node: ast.AST, at_module_level: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                found.extend(Import(name, child.lineno, at_module_level) for name in names(child))
            elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
                visit(ast.Module(body=child.orelse, type_ignores=[]), at_module_level)
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                visit(child, at_module_level and not function)

    visit(ast.parse(source), True)
    return found


def room_of(file: Path) -> str:
    """The room of a source file, `errors` and the like for the files beside the rooms."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def violations(file: str, source: str) -> list[str]:
    """What `source` would break of the rules if it stood at electra_jax/`file`."""
    path = PACKAGE / file
    room = room_of(path)
    package = ".".join(path.relative_to(ROOT).parent.parts)
    broken = []
    for module, line, at_module_level in imports_of(source, package):
        where = f"electra_jax/{file}:{line} imports {module}"
        top, *rest = module.split(".")
        if top == "torch":
            broken.append(f"{where}: torch is never imported by the package")
        if top.startswith("tensorflow"):
            if room not in ("data", "text", "preparation", "interop"):
                broken.append(
                    f"{where}: TensorFlow belongs to data/, text/, preparation/ and interop/"
                )
            elif at_module_level:
                broken.append(f"{where}: TensorFlow is imported inside the function that needs it")
        if top == "orbax" and file != "training/checkpoint/checkpoints.py":
            broken.append(f"{where}: Orbax belongs to training/checkpoint/")
        if top == "ml_collections" and room not in ("config_file", "configs"):
            broken.append(f"{where}: ml_collections belongs to config_file.py and configs/")
        if top == "electra_jax" and rest:
            broken.extend(f"{where}: {reason}" for reason in wrong_way(room, rest[0]))
    return broken


def wrong_way(room: str, imported: str) -> list[str]:
    """Why `room` may not import `imported`: an empty list where it may."""
    if imported in BELOW_ALL or imported not in ROOMS:
        return []
    if room in BELOW_ALL:
        return [f"{room}.py stands below the rooms"]
    if room in ROOMS and ROOMS.index(imported) > ROOMS.index(room):
        return [f"imports point from {imported} to {room}, not back"]
    return []


def test_every_source_file_keeps_the_import_rules():
    files = sorted(PACKAGE.rglob("*.py"))
    assert files
    broken = [
        line
        for file in files
        for line in violations(str(file.relative_to(PACKAGE)), file.read_text(encoding="utf-8"))
    ]
    assert not broken, "\n".join(broken)


def import_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Which files import which, inside functions too; `sources` by path under electra_jax/."""
    modules = {
        ".".join(["electra_jax", *Path(file).with_suffix("").parts]).removesuffix(".__init__"): file
        for file in sources
    }
    graph: dict[str, set[str]] = {}
    for file, source in sources.items():
        package = ".".join(["electra_jax", *Path(file).parent.parts])
        graph[file] = set()
        for name, _, _ in imports_of(source, package):
            # `from electra_jax.text.corpus import read` names a module and what is in it.
            imported = modules.get(name) or modules.get(name.rpartition(".")[0])
            if imported and imported != file:
                graph[file].add(imported)
    return graph


def circles(graph: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """The groups of files that import each other, directly or through one another, sorted."""

    def reachable(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            fresh = graph[waiting.pop()] - found
            found |= fresh
            waiting.extend(fresh)
        return found

    reached = {file: reachable(file) for file in graph}
    groups = {
        tuple(sorted(other for other in reached[file] if file in reached[other]))
        for file in graph
        if file in reached[file]
    }
    return sorted(groups)


def test_no_files_import_each_other_in_a_circle():
    sources = {
        str(file.relative_to(PACKAGE)): file.read_text(encoding="utf-8")
        for file in sorted(PACKAGE.rglob("*.py"))
    }
    assert circles(import_graph(sources)) == []


def test_circles_are_found():
    sources = {
        "a.py": "from electra_jax.text import b",
        "text/b.py": "from . import c\nfrom electra_jax import d",
        "text/c.py": "",
        "text/__init__.py": "",
        "d.py": "from electra_jax.text.c import f",
    }
    assert circles(import_graph(sources)) == []
    sources["text/c.py"] = "if TYPE_CHECKING:\n    from electra_jax.a import f"
    assert circles(import_graph(sources)) == []
    for back in ("from ..a import f", "def f():\n    from electra_jax.a import f"):
        sources["text/c.py"] = back
        assert circles(import_graph(sources)) == [("a.py", "d.py", "text/b.py", "text/c.py")]


def too_long(source: str) -> list[str]:
    """Names of the functions of a file above MOST_OF_A_FUNCTION lines (decorators not counted), and
    "the file" where it has more than MOST_OF_A_FILE."""
    found = ["the file"] if len(source.splitlines()) > MOST_OF_A_FILE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > MOST_OF_A_FUNCTION:
                found.append(node.name)
    return found


def test_no_file_and_no_function_is_too_long_to_be_read():
    found = {
        (str(file.relative_to(PACKAGE)), name)
        for file in sorted(PACKAGE.rglob("*.py"))
        for name in too_long(file.read_text(encoding="utf-8"))
    }
    assert found == LONG, "a longer one: split it; one of LONG that is no more: take it out"


def test_what_is_too_long_is_found():
    function = "class A:\n    @staticmethod\n    async def f():\n" + 78 * "        pass\n"
    assert too_long(function + "        pass\n") == []
    assert too_long(function + 2 * "        pass\n") == ["f"]
    assert too_long(400 * "a = 0\n") == []
    assert too_long(401 * "a = 0\n") == ["the file"]


def test_every_folder_of_the_package_is_a_room():
    folders = {path.name for path in PACKAGE.iterdir() if any(path.glob("*.py"))}
    assert folders <= set(ROOMS), f"no place in the order of imports: {folders - set(ROOMS)}"


def test_every_room_is_a_package_that_setup_py_finds():
    lacking = [
        str(folder.relative_to(ROOT))
        for folder in {file.parent for file in PACKAGE.rglob("*.py")}
        if not (folder / "__init__.py").exists()
    ]
    assert not lacking, f"no __init__.py, so `pip install .` would leave them out: {lacking}"


def without_mirror(package: Path, tests: Path) -> list[str]:
    """The modules a/b/c.py of `package` that have no tests/a/b/test_c.py, sorted."""
    return sorted(
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if file.stem not in ("__init__", "__main__")
        and not (tests / file.relative_to(package).with_name(f"test_{file.name}")).is_file()
    )


def test_every_module_has_a_test_file_of_its_name():
    lacking = without_mirror(PACKAGE, ROOT / "tests")
    assert not lacking, "no tests/a/b/test_c.py for electra_jax/a/b/c.py:\n" + "\n".join(lacking)


def test_a_module_without_its_test_file_is_found(tmp_path):
    for file in ("p/a/b.py", "p/a/__init__.py", "p/a/c.py", "t/test_c.py", "t/a/test_b.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert without_mirror(tmp_path / "p", tmp_path / "t") == ["a/c.py"]


@pytest.mark.parametrize(
    ("file", "source", "rule"),
    [
        ("modeling/a.py", "import torch", "torch is never"),
        ("modeling/a.py", "def f():\n    import tensorflow as tf", "belongs to data/"),
        ("data/a.py", "import tensorflow as tf", "inside the function"),
        (
            "data/a.py",
            "try:\n    import tensorflow_datasets\nexcept ImportError:\n    pass",
            "inside",
        ),
        ("training/loop.py", "from orbax.checkpoint import v1", "Orbax belongs"),
        ("config/model.py", "from ml_collections import config_dict", "ml_collections belongs"),
        ("text/a.py", "from electra_jax.data import rows", "not back"),
        ("text/a.py", "from electra_jax import training", "not back"),
        ("text/a.py", "from ..training import loop", "not back"),
        ("text/a.py", "def f():\n    from electra_jax.cli import main", "not back"),
        ("errors.py", "from electra_jax.text import corpus", "below the rooms"),
    ],
)
def test_the_rules_notice_each_kind_of_breach(file, source, rule):
    (message,) = violations(file, source)
    assert rule in message


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("data/a.py", "def f():\n    import tensorflow as tf"),
        ("training/checkpoint/checkpoints.py", "import orbax.checkpoint as ocp"),
        ("config_file.py", "import ml_collections"),
        ("training/a.py", "from electra_jax.objectives import losses"),
        ("training/a.py", "from electra_jax.errors import UserError"),
        ("text/a.py", "from electra_jax.text.corpus import read"),
    ],
)
def test_the_rules_allow_what_the_architecture_allows(file, source):
    assert violations(file, source) == []


def test_importing_the_package_loads_neither_tensorflow_nor_torch():
    script = (
        "import sys, electra_jax; "
        "print(sorted({'tensorflow', 'torch', 'orbax', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
