"""Classes from a user's own file: found, and refused with what is wrong."""

from __future__ import annotations

import abc
from pathlib import Path

import pytest

from electra_jax.errors import UserError
from electra_jax.plugins import class_from_file, is_file_reference


class Base(abc.ABC):
    """What the files below derive from."""

    @abc.abstractmethod
    def one(self) -> int:
        """Abstract."""

    @abc.abstractmethod
    def two(self) -> int:
        """Abstract."""


WHOLE = """
from __future__ import annotations
import dataclasses
from typing import ClassVar
from tests.test_plugins import Base

@dataclasses.dataclass(frozen=True)
class Whole(Base):
    kind: ClassVar[str] = "mine"
    number: int = 3
    def one(self): return self.number
    def two(self): return 2

class Half(Base):
    def one(self): return 1

class Stranger: pass
value = 4
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(WHOLE)
    return path


def test_a_class_is_found_and_stays_itself(file: Path) -> None:
    found = class_from_file(f"{file}:Whole", Base)
    assert found().one() == 3
    assert class_from_file(f"{file}:Whole", Base) is found


def test_a_changed_file_is_another_class(file: Path) -> None:
    found = class_from_file(f"{file}:Whole", Base)
    file.write_text(WHOLE.replace("= 3", "= 5"))
    other = class_from_file(f"{file}:Whole", Base)
    assert (found().one(), other().one()) == (3, 5)


def test_a_path_relative_to_the_current_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert class_from_file("mine.py:Whole", Base)().two() == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Missing", r"Missing has no such name; subclasses of Base in .*mine\.py: Whole, Half"),
        ("Stranger", r"Stranger is no subclass of Base; .*: Whole, Half"),
        ("value", r"value is no subclass of Base"),
        ("Half", r"Half lacks two \(see tests\.test_plugins\)"),
    ],
)
def test_what_does_not_fit_is_refused(file: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        class_from_file(f"{file}:{name}", Base)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.py: No such file"):
        class_from_file(f"{tmp_path}/absent.py:Whole", Base)


@pytest.mark.parametrize("text", ["electra", "mine.py", "mine.py:", "mine.txt:Whole"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"write FILE\.py:NAME"):
        class_from_file(text, Base)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\ny = x / 0\n", r"mine\.py:2: ZeroDivisionError"),
        ("x = 1\nclass A(:\n", r"mine\.py:2: SyntaxError"),
        ("\n\nimport no_such_module_anywhere\n", r"mine\.py:3: ModuleNotFoundError"),
    ],
)
def test_a_file_that_fails_is_named_with_its_line(
    tmp_path: Path, source: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    for _ in range(2):  # a failure is not remembered as a module
        with pytest.raises(UserError, match=message):
            class_from_file(f"{path}:Whole", Base)


def test_is_file_reference() -> None:
    assert is_file_reference("a/b.py:C")
    assert not any(map(is_file_reference, ("electra", "b.py", "b.txt:C")))
