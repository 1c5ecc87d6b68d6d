"""Values of task data: lists and numbers that a table holds as text, and labels that are missing.

What a value means is decided here, the same for training, evaluation and prediction.
"""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
from typing import Any

from electra_jax.errors import UserError


class Missing(str):
    """A label that says that there is none, as the data writes it: -1, "-", nan, empty, -100."""

    __slots__ = ()


_NO_NAME = ("", "-", "nan", "NaN")
_NO_NUMBER = (-1, -100)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_TOKEN = re.compile(rf"{_QUOTED.pattern}|,|[^\s,'\"]+|['\"]", re.DOTALL)
_CONSTANTS: dict[str, bool | None] = {"null": None, "None": None, "nan": None, "NaN": None}
_CONSTANTS |= {"true": True, "True": True, "false": False, "False": False}
_LIST = re.compile(rf"""\[\s*(['"\d\]]|[+-]\d|({"|".join(_CONSTANTS)})\b)""")
_NO_ITEM = object()


def missing_label(value: Any, numbers: bool = False) -> Missing | None:
    """The value as `Missing` where it stands for no label, else None.

    Args:
      numbers: labels are numbers (a regression), of which -1 and -100 are two like any other.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Missing("null" if value is None else "nan")
    if isinstance(value, str):
        value = value.strip()
        if value in _NO_NAME:
            return Missing(value)
        if not numbers and value in ("-1", "-1.0", "-100", "-100.0"):
            return Missing(plain_name(value))
    elif not numbers and not isinstance(value, bool) and value in _NO_NUMBER:
        return Missing(int(value))
    return None


def name_of(value: Any, table: bool) -> str | None:
    """A label as a string, None of what is none: 1, 1.0 and "1" are equal, so are true and "true".

    Args:
      table: the value comes from a .tsv or .csv, which has no types: "1.0" is 1, "True" is true.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if float(value).is_integer() else str(value)
    if not isinstance(value, str) or not value.strip():
        return None
    name = value.strip()
    return plain_name(name) if table else name


def plain_name(name: str) -> str:
    """A label of a table as `name_of` writes the value that it stands for."""
    if name.lower() in ("true", "false"):
        return name.lower()
    whole = _WHOLE.fullmatch(name)
    return str(int(whole[1])) if whole else name


def number_of(value: Any) -> float | None:
    """A finite number, or a string of one in decimals ("1_0" is none); None of anything else."""
    if isinstance(value, str):
        value = value.strip()
        if not _NUMBER.fullmatch(value):
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(float(value)) else None


def bit_of(value: Any) -> bool | None:
    """Of 0, 1, false or true, as a number, a string or a truth value; None of anything else."""
    if isinstance(value, str):
        value = {"0": 0, "1": 1, "false": 0, "true": 1}.get(plain_name(value.strip()))
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return None


def looks_like_list(value: Any) -> bool:
    """Whether a string is a list written as text: "['a', 'b']", "[0 1]", "[]"."""
    if not isinstance(value, str):
        return False
    text = value.strip()
    return bool(_LIST.match(text)) and text.endswith("]")


def list_of(value: Any, role: str, where: str, bare: bool = False) -> Any:
    """The list that a string holds as JSON, as Python writes it (pandas' to_csv) or as NumPy does
    (no commas); any other value as it is.

    Args:
      bare: items may lack quotes, with commas between: "[food, price]".

    Raises:
      UserError: the string begins and ends as a list, and is none.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    whole = text.startswith("[") and text.endswith("]")
    if not (whole or re.match(r"\[\s*['\"]", text) if bare else looks_like_list(text)):
        return value
    found = _json_list(text)
    if found is None and whole:
        found = _items(text[1:-1], bare)
    if found is None:
        raise UserError(
            f"{where}: {role} hold {json.dumps(text, ensure_ascii=False)[:60]}, which begins as a "
            'list and is none; write it as JSON: ["a", "b"]'
        )
    return found


def structure_of(value: Any) -> Any:
    """The list or object that a string holds as JSON or as Python writes it; any other value, and
    a string of neither, as it is."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    text = value.strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if text.endswith("]") and (items := _items(text[1:-1], False)) is not None:
            return items
    # Python joins strings that have nothing between them, as NumPy writes those of an array.
    if not re.search(r"['\"]\s+['\"]", text):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return ast.literal_eval(text)
    return value


def _json_list(text: str) -> list[Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _items(text: str, bare: bool) -> list[Any] | None:
    """The items between commas or, where there are none, between spaces; None of another text."""
    tokens = _TOKEN.findall(text)
    groups: list[list[str]] = [[]]
    for token in tokens:
        if token == ",":
            groups.append([])
        else:
            groups[-1].append(token)
    if len(groups) == 1:
        groups = [[token] for token in groups[0]]
        bare = bare and len(groups) == 1
    elif not groups[-1]:  # a comma after the last
        groups.pop()
    items = [_item(group, bare) for group in groups]
    return None if _NO_ITEM in items else items


def _item(tokens: list[str], bare: bool) -> Any:
    if len(tokens) == 1:
        (token,) = tokens
        if token[0] in "'\"":
            return ast.literal_eval(token) if _QUOTED.fullmatch(token) else _NO_ITEM
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        if (number := number_of(token)) is not None:
            return int(number) if number.is_integer() else number
    plain = bare and tokens and not any("'" in t or '"' in t or "..." in t for t in tokens)
    return " ".join(tokens) if plain else _NO_ITEM
