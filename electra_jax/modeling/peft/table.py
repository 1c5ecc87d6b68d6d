"""The methods by name, from `tune.*` of a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from electra_jax.config.finetuning import METHODS
from electra_jax.errors import UserError
from electra_jax.modeling.peft.base import Adaptation, Full
from electra_jax.modeling.peft.bitfit import BitFit
from electra_jax.modeling.peft.lora import LoRA


def make_adaptation(settings: Mapping[str, Any]) -> Adaptation:
    """From the configuration's `tune.*`: method, rank, alpha, targets, embedding_rank."""
    method = settings["method"]
    if method == "full":
        return Full()
    if method == "bitfit":
        return BitFit()
    if method == "lora":
        if settings["rank"] < 1:
            raise UserError(f"tune.rank={settings['rank']}: must be at least 1")
        if settings["embedding_rank"] < 0:
            raise UserError(f"tune.embedding_rank={settings['embedding_rank']}: must be 0 or more")
        try:
            re.compile(settings["targets"])
        except re.error as error:
            raise UserError(
                f"tune.targets={settings['targets']!r} is no regular expression: {error}"
            ) from error
        names = ("rank", "alpha", "targets", "embedding_rank")
        return LoRA(**{name: settings[name] for name in names})
    raise UserError(f"tune.method={method!r}: choose one of {', '.join(METHODS)}")
