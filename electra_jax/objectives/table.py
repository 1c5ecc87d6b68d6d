"""The objectives that a configuration can name: a new one is a file in this folder and a row here.

`objective.name` may also be `FILE.py:CLASS`, an objective in a user's own file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from electra_jax.config.pretraining import PretrainSettings, pretrain_settings, read_pretrain
from electra_jax.errors import UserError
from electra_jax.interop.mapping.names import DISCRIMINATOR, ENCODER, GENERATOR, NOISE
from electra_jax.objectives.all_tokens_mlm import AllTokensMLMObjective
from electra_jax.objectives.base import Metric, PretrainingObjective, RunShape, Tree
from electra_jax.objectives.electra import ElectraObjective
from electra_jax.objectives.electra_15 import Electra15Objective
from electra_jax.objectives.electric import ElectricObjective
from electra_jax.objectives.masked_lm import MaskedLMObjective
from electra_jax.objectives.replace_mlm import ReplaceMLMObjective
from electra_jax.plugins import class_from_file, is_file_reference

OBJECTIVES: dict[str, type[PretrainingObjective]] = {
    "electra": ElectraObjective,
    "masked_lm": MaskedLMObjective,
    "electra_15": Electra15Objective,
    "replace_mlm": ReplaceMLMObjective,
    "all_tokens_mlm": AllTokensMLMObjective,
    "electric": ElectricObjective,
}
EXPORTED = (DISCRIMINATOR, GENERATOR, ENCODER, NOISE)


def find_objective(name: str) -> type[PretrainingObjective]:
    """The class that `objective.name` names: a row of the table, or `FILE.py:CLASS`."""
    if is_file_reference(name):
        return class_from_file(name, PretrainingObjective)  # type: ignore[type-abstract]
    if name not in OBJECTIVES:
        raise UserError(
            f"objective.name={name!r}: choose one of {', '.join(OBJECTIVES)}, or FILE.py:CLASS"
        )
    return OBJECTIVES[name]


def fields_of(config: Mapping[str, Any]) -> type[PretrainSettings]:
    """The fields of a pretraining configuration, with those of the objective that it names."""
    own: type = find_objective(read_pretrain(config).objective["name"]).Settings
    return pretrain_settings(own)


def build_objective(run: RunShape) -> PretrainingObjective:
    """The objective that a run's configuration names. Raises `UserError` on settings that do not
    fit."""
    values: Mapping[str, Any] = run.config["objective"]
    cls = find_objective(values["name"])
    return cls.from_config(cls.read_settings(values, run), run)


def check_exports(objective: PretrainingObjective, params: Tree) -> None:
    """Raises `UserError` where a run of this objective would export nothing, or what no model
    folder holds: before the run rather than after it. `params` may be shapes."""
    networks, cls = objective.networks(params), type(objective).__name__
    if not networks:
        raise UserError(f"{cls}: its networks() names none to export")
    for name, network in networks.items():
        if network.kind not in EXPORTED:
            raise UserError(
                f"{cls}: networks()[{name!r}] is of kind {network.kind!r}; model folders hold "
                f"{', '.join(EXPORTED)}"
            )


def known_metrics() -> tuple[Metric, ...]:
    """Every metric of the table's objectives once, for work folders that do not name theirs."""
    every = (metric for cls in OBJECTIVES.values() for metric in cls.metrics)
    return tuple({metric.key: metric for metric in every}.values())
