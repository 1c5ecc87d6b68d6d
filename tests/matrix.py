"""Which cases of a long matrix the default suite runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def representative(cases: Iterable[Any], *chosen: Any) -> list[Any]:
    """Cases for `parametrize`: those chosen run always, the others in `make slow` alone. A tuple
    is the values of several arguments.
    """
    cases = list(cases)
    unknown = [case for case in chosen if case not in cases]
    if unknown:
        raise ValueError(f"no such case: {unknown}")
    return [
        case
        if case in chosen
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]
