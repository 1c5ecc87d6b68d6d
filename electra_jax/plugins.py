"""Classes from a user's own file: `FILE.py:NAME` in a configuration names an objective or a kind of
task that the package does not have."""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
import types
from pathlib import Path
from typing import TypeVar

from electra_jax.errors import UserError

Base = TypeVar("Base")


def is_file_reference(text: str) -> bool:
    """Whether a name has the form `FILE.py:NAME`."""
    return text.rpartition(":")[0].endswith(".py")


def class_from_file(text: str, base: type[Base]) -> type[Base]:
    """The subclass of `base` that `FILE.py:NAME` names; the file is run once for each content.

    Raises `UserError` where there is no such file, the file fails (with its line), it has no class
    of that name (the fitting classes are listed), or the class leaves abstract members out.
    """
    file, _, name = text.rpartition(":")
    if not file.endswith(".py") or not name:
        raise UserError(f"{text!r}: write FILE.py:NAME, such as my_file.py:My{base.__name__}")
    module = _load(Path(file).expanduser(), text)
    found = getattr(module, name, None)
    if not (inspect.isclass(found) and issubclass(found, base)):
        fitting = [
            key
            for key, value in vars(module).items()
            if inspect.isclass(value)
            and issubclass(value, base)
            and value.__module__ == module.__name__
        ]
        what = "has no such name" if found is None else f"is no subclass of {base.__name__}"
        raise UserError(
            f"{text}: {name} {what}; subclasses of {base.__name__} in {file}: "
            f"{', '.join(fitting) or 'none'}"
        )
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise UserError(f"{text}: {name} lacks {', '.join(missing)} (see {base.__module__})")
    return found


def _load(path: Path, text: str) -> types.ModuleType:
    """The file as a module. The same content gives the same module, so its classes compare
    equal."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"{text}: cannot read {path}: {error.strerror}") from error
    path = path.resolve()
    digest = hashlib.sha256(bytes(path) + b"\0" + source).hexdigest()
    name = f"{path.stem}_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look up their module here
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        if isinstance(error, SyntaxError) and error.filename == str(path):
            line = error.lineno
        else:
            frames = traceback.extract_tb(error.__traceback__)
            line = next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)
        where = f"{path}:{line}" if line else str(path)
        raise UserError(f"{where}: {type(error).__name__}: {error}") from error
    return module
