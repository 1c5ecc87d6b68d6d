"""The reference pages, written from the package: fields, command line, public names.

`write` is called when Sphinx begins (conf.py); `process_docstring` turns the package's docstrings
into reStructuredText.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import re
import textwrap
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import electra_jax
from electra_jax import cli
from electra_jax.config.describe import Described
from electra_jax.config.model import SIZES
from electra_jax.finetuning.task import Task
from electra_jax.finetuning.task_table import TASKS
from electra_jax.objectives.table import OBJECTIVES

# The order of the public names; those that are not here come last, under "More".
GROUPS = {
    "Models and tokenizers": "load Predictor Tokenizer load_tokenizer ElectraConfig convert",
    "From text to a model": "train_vocabulary prepare pretrain finetune sweep",
    "Answers and scores": "predict evaluate score submission",
    "Configurations": "get_config describe_config",
    "A training loop of your own": "build_pretraining make_train_step",
    "Reports and the demo": "report run_demo write_docstrings",
    "Errors": "UserError",
}
_WIDTH = 78  # of the command line's help
_CODE = re.compile(r"(?<!`)`(\w+)`(?!`)")


def write(folder: Path) -> None:
    """Writes every reference page into `folder`; pages that have not changed keep their time."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "configuration-pretraining.md": _pretraining(),
        "configuration-finetuning.md": _finetuning(),
        "tasks.md": _tasks(),
        "command-line.md": _command_line(),
        "python.rst": _python(),
    }
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


# Configurations


def _pretraining() -> str:
    fields = electra_jax.describe_config("pretrain:small")
    sizes = {size: _changes("pretrain", size, fields) for size in SIZES}
    own = []
    for name in OBJECTIVES:
        if name != "electra":
            found = electra_jax.describe_config("pretrain:small", {"objective.name": name})
            group = [f for f in found if f.key.startswith("objective.") and f.key[10:] != "name"]
            own += [f"## The group `objective` of `objective.name={name}`", "", *_fields(group)]
    return _page(
        "Fields of pretraining",
        "Values are those of `configs/pretrain.py:small`, which is ELECTRA-Small. "
        "`electra-jax config configs/pretrain.py:small` prints this list in a terminal.",
        fields,
        [
            *own,
            "## What the other sizes change",
            "",
            "`configs/pretrain.py:SIZE`. The vocabulary is always the tokenizer's, the length of a "
            "row always that of the rows folder.",
            "",
            *_table(sizes, {field.key: field.value for field in fields}),
        ],
    )


def _finetuning() -> str:
    fields = electra_jax.describe_config("finetune:classification")
    tasks = {task: _changes("finetune", task, fields) for task in TASKS}
    for changes in tasks.values():
        changes.pop("task", None)
        changes.pop("data.columns", None)  # the task's roles, all None
    return _page(
        "Fields of fine-tuning",
        "Values are those of `configs/finetune.py:classification`. "
        "`electra-jax config configs/finetune.py:TASK` prints this list in a terminal.",
        fields,
        [
            "## What the other tasks change",
            "",
            "Beside `task` itself and the roles of `data.columns`. Tasks that are not here change "
            "nothing.",
            "",
            *_changed({k: v for k, v in tasks.items() if v}, "configs/finetune.py"),
        ],
    )


def _page(title: str, introduction: str, fields: list[Described], rest: list[str]) -> str:
    lines = [f"# {title}", "", introduction, ""]
    groups: dict[str, list[Described]] = {}
    for field in fields:
        groups.setdefault(field.key.rpartition(".")[0], []).append(field)
    for group, members in groups.items():
        lines += [f"## `{group}`" if group else "## Top level", "", *_fields(members)]
    return "\n".join([*lines, *rest]).rstrip() + "\n"


def _fields(fields: Iterable[Described]) -> Iterator[str]:
    """A definition list: a table of this would be too wide for a phone."""
    for field in fields:
        allowed = field.allowed if " | " in field.allowed else ""
        kind = allowed or ", ".join(filter(None, [field.type, field.allowed]))
        unit = f"; {field.unit}" if field.unit else ""
        yield f"`{field.key}` = `{_value(field.value)}`"
        yield f": {_markdown(_sentence(field.meaning))}"
        yield f"  `{kind}{unit}`{{.kind}}"
        yield ""


def _changes(file: str, argument: str, beside: list[Described]) -> dict[str, Any]:
    """What `FILE:ARGUMENT` has in place of the values of `beside`."""
    usual = {field.key: field.value for field in beside}
    found = electra_jax.describe_config(f"{file}:{argument}")
    return {f.key: f.value for f in found if usual.get(f.key) != f.value and f.key != "size"}


def _changed(sets: dict[str, dict[str, Any]], file: str) -> Iterator[str]:
    for name, changes in sets.items():
        yield f"`{file}:{name}`"
        values = ", ".join(f"`{key}={_value(value)}`" for key, value in changes.items())
        yield f": {values}"
        yield ""


def _table(sets: dict[str, dict[str, Any]], usual: dict[str, Any]) -> Iterator[str]:
    """A row for each field in which any of the sets differs, a column a set."""
    yield "| field | " + " | ".join(sets) + " |"
    yield "|---" * (len(sets) + 1) + "|"
    for key in (key for key in usual if any(key in changes for changes in sets.values())):
        values = (_number(changes.get(key, usual[key])) for changes in sets.values())
        yield f"| `{key}` | " + " | ".join(values) + " |"
    yield ""


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _value(value: Any) -> str:
    return repr(value).replace("`", "'")


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "…")) else ".")


def _markdown(text: str) -> str:
    """Text with what Markdown would read as markup escaped, but for `code`."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([*<\[\]{}])", r"\\\1", p) for p in parts)


# Tasks


def _tasks() -> str:
    lines = [
        "# Tasks and columns",
        "",
        "Names for `configs/finetune.py:NAME`. The first score is the one that runs are compared "
        "by. Columns are looked for in this order, and `data.columns.ROLE` names another.",
        "",
    ]
    kinds: dict[str, list[Task]] = {}
    for task in TASKS.values():
        kinds.setdefault(task.kind, []).append(task)
    for kind, tasks in kinds.items():
        lines += [f"## {kind.replace('_', ' ').capitalize()}", ""]
        for task in tasks:
            lines += [f"`{task.name}`", f": Scores: {', '.join(map(_plain, task.metrics))}."]
            lines.append(f"  At most {task.max_length} tokens, {task.epochs:g} epochs.")
            if task.labels is not None and len(task.labels) <= 4:
                lines.append(f"  Labels: {_names(task.labels)}.")
            if task.tfds:
                lines.append(f"  Without `data.path`: `tfds:{task.tfds}`.")
            lines.append("")
        columns: dict[tuple[str, ...], list[str]] = {}
        for task in tasks:
            columns.setdefault(tuple(_columns(task)), []).append(task.name)
        for found, names in columns.items():
            of = "" if len(columns) == 1 else f" of {_names(names)}"
            lines += [f"Columns{of}:", "", *found, ""]
    return "\n".join(lines).rstrip() + "\n"


def _columns(task: Task) -> Iterator[str]:
    """The columns of a task, a line for each role."""
    if task.texts:
        texts = (" + ".join(f"`{name}`" for name in pair) for pair in task.texts)
        yield f"- text: {', '.join(texts)}"
    for role, names in task.roles.items():
        yield f"- {_plain(role)}: {_names(names)}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _plain(name: str) -> str:
    return name.replace("_", " ")


# The command line


def _command_line() -> str:
    lines = [
        "# Command line",
        "",
        "What `electra-jax VERB --help` prints. Exit codes: 0 done; 2 the input or the "
        "configuration is wrong (one message that names the remedy); 143 stopped by SIGTERM after "
        "saving; 1 anything else.",
        "",
        *_block(_printed(["--help"])),
    ]
    for verb in cli.VERBS:
        lines += [f"## {verb}", "", *_block(_printed([verb, "--help"]))]
    return "\n".join(lines).rstrip() + "\n"


def _printed(argv: list[str]) -> str:
    printed, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(_WIDTH)
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            cli.main(argv)
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return printed.getvalue().rstrip()


def _block(text: str) -> list[str]:
    return ["```text", text, "```", ""]


# The Python interface


def grouped() -> dict[str, list[str]]:
    """The names of `electra_jax.__all__` by the title they stand under."""
    groups = {
        title: [name for name in names.split() if name in electra_jax.__all__]
        for title, names in GROUPS.items()
    }
    placed = {name for names in groups.values() for name in names}
    groups["More"] = [name for name in electra_jax.__all__ if name not in placed]
    return {title: names for title, names in groups.items() if names}


def _python() -> str:
    lines = [
        "Python interface",
        "================",
        "",
        "Every name of ``electra_jax.__all__``. They are imported when they are first used, so "
        "``import electra_jax`` is quick.",
        "",
    ]
    for title, names in grouped().items():
        lines += [title, "-" * len(title), ""]
        for name in names:
            lines += _directive(f"electra_jax.{name}", getattr(electra_jax, name))
    title = "What they return"
    lines += [title, "-" * len(title), ""]
    for cls in _returned():
        lines += _directive(f"{cls.__module__}.{cls.__qualname__}", cls)
    return "\n".join(lines).rstrip() + "\n"


def _directive(path: str, value: Any) -> list[str]:
    if not inspect.isclass(value):
        return [f".. autofunction:: {path}", ""]
    if issubclass(value, BaseException):
        return [f".. autoexception:: {path}", ""]
    lines = [f".. autoclass:: {path}", "   :members:"]
    if "__call__" in vars(value):
        lines.append("   :special-members: __call__")
    if value.__module__ == "electra_jax.inference.model":
        lines.append("   :inherited-members:")
    return [*lines, ""]


def _returned() -> list[type]:
    """Classes of the package that the public names return and that are not public names."""
    found: dict[type, None] = {}
    public = {getattr(electra_jax, name) for name in electra_jax.__all__}
    waiting: list[Any] = [getattr(electra_jax, name) for name in electra_jax.__all__]
    while waiting:
        value = waiting.pop(0)
        functions = [value]
        if inspect.isclass(value):
            functions = [
                member.fget if isinstance(member, property) else getattr(member, "func", member)
                for name, member in vars(value).items()
                if name == "__call__" or not name.startswith("_")
            ]
        for function in functions:
            for cls in _classes(_return_type(function)):
                if cls.__module__.startswith("electra_jax.") and cls not in {*public, *found}:
                    found[cls] = None
                    waiting.append(cls)
    return list(found)


def _return_type(function: Any) -> Any:
    try:
        return typing.get_type_hints(function).get("return")
    except (TypeError, NameError, AttributeError):
        return None


def _classes(annotation: Any) -> Iterator[type]:
    if inspect.isclass(annotation) and not typing.get_args(annotation):
        yield annotation
    for part in typing.get_args(annotation):
        if not isinstance(part, list):
            yield from _classes(part)


# Docstrings


def process_docstring(
    app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Paragraphs that are Python become code blocks; the rest is left to napoleon."""
    text = "\n".join(lines)
    paragraphs = [_paragraph(p) for p in re.split(r"\n{2,}", text.strip("\n"))]
    lines[:] = "\n\n".join(paragraphs).split("\n") if text.strip() else []


def _paragraph(text: str) -> str:
    if is_python(text):
        language = "text" if "…" in text else "python"
        return f".. code-block:: {language}\n\n" + textwrap.indent(text, "   ")
    return _CODE.sub(_linked, text)


def _linked(found: re.Match[str]) -> str:
    name = found.group(1)
    return f":py:obj:`~electra_jax.{name}`" if name in electra_jax.__all__ else found.group()


def is_python(text: str) -> bool:
    """Whether a paragraph is an example: statements with a call in them."""
    code = text.replace("…", "...").replace("→", "#")
    code = re.sub(r"\{\.\.\.\}|: \.\.\.|, \.\.\.", "", code)
    try:
        tree = ast.parse(textwrap.dedent(code))
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Call) for node in ast.walk(tree))
