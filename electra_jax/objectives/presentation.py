"""How the metrics of an objective are shown; a module of its own, because logs and reports need no
JAX."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """How one number that `summarize` names `key` is shown.

    `unit` is a unit or what the number means in a few words; `better` is 1 where higher is better,
    -1 where lower is, 0 where neither. Metrics of one `section` stand together in the report;
    `headline` ones also in its tiles and in a sweep's table; `brief` is the name on the progress
    line ("": not there). The order of an objective's metrics is the order shown.
    """

    key: str
    title: str
    unit: str = ""
    better: int = 0
    section: str = "Objective"
    headline: bool = False
    brief: str = ""
