"""The fine-tuning recipe: learning rates by size and by layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from electra_jax.config.finetuning import LAYERWISE_MODES
from electra_jax.config.model import ElectraConfig
from electra_jax.errors import UserError
from electra_jax.modeling.peft.base import ENCODER_PREFIX
from electra_jax.modeling.trees import flatten
from electra_jax.training.optimizer import matches, names

_RATE_FACTOR = {"full": 1.0, "lora": 20 / 3, "bitfit": 10.0}


def default_learning_rate(config: ElectraConfig, method: str = "full") -> float:
    """The paper's: 3e-4 for small, 1e-4 for base, 5e-5 for large encoders, by hidden size; higher
    for methods that train few parameters (benchmarks/LOG.md compares)."""
    rate = 3e-4 if config.hidden_size <= 512 else 1e-4 if config.hidden_size <= 768 else 5e-5
    return rate * _RATE_FACTOR[method]


def default_layerwise_decay(config: ElectraConfig, method: str = "full") -> float:
    """The paper's: 0.8 for small and base, 0.9 for large encoders; 1 for methods that train few
    parameters."""
    if method != "full":
        return 1.0
    return 0.8 if config.hidden_size <= 768 else 0.9


def layerwise_multipliers(params: Any, config: ElectraConfig, decay: float, mode: str) -> Any:
    """Learning-rate factors like `params` (numbers, or [layers, 1, …] for stacked layers).

    `paper`: the head learns at the full rate, the top layer at decay times it, each lower layer at
    decay times the one above, the embeddings at decay times the lowest layer. `reference`: the same
    counted from one layer further up, as the original code does (its top layer has decay²).
    """
    if mode not in LAYERWISE_MODES:
        raise UserError(
            f"optimizer.layerwise_mode={mode!r}: choose one of {', '.join(LAYERWISE_MODES)}"
        )
    if not 0.0 < decay <= 1.0:
        raise UserError(f"optimizer.layerwise_decay={decay}: must be above 0 and at most 1")
    layers = config.num_hidden_layers
    extra = 1 if mode == "reference" else 0
    of_layer = decay ** np.arange(layers + extra, extra, -1, dtype=np.float64)

    def factor(name: str, leaf: Any) -> Any:
        if ENCODER_PREFIX not in f"/{name}":
            return 1.0
        if "/encoder/final_norm/" in name:
            return float(of_layer[-1])
        if match := re.search(r"/encoder/(attention_norm|layer)/", name):
            stacked = of_layer[1:] if match[1] == "attention_norm" else of_layer
            return stacked.reshape(-1, *[1] * (len(leaf.shape) - 1)).astype(np.float32)
        return float(of_layer[0] * decay)

    return jax.tree.map(factor, names(params), params)


def freeze_lowest(multipliers: Any, params: Any, config: ElectraConfig, count: int) -> Any:
    """`multipliers` with the lowest `count` layers and the embeddings at 0."""
    if not 0 <= count <= config.num_hidden_layers:
        raise UserError(
            f"optimizer.freeze_layers={count}: the encoder has {config.num_hidden_layers} layers"
        )
    if count == 0:
        return multipliers
    kept = (np.arange(config.num_hidden_layers) >= count).astype(np.float32)

    def hold(name: str, leaf: Any, factor: Any) -> Any:
        if match := re.search(r"/encoder/(attention_norm|layer)/", name):
            stacked = kept[1:] if match[1] == "attention_norm" else kept
            return factor * stacked.reshape(-1, *[1] * (len(leaf.shape) - 1))
        return 0.0 if ENCODER_PREFIX in f"/{name}" and "final_norm" not in name else factor

    return jax.tree.map(hold, names(params), params, multipliers)


def trained_sizes(params: Any, multipliers: Any, freeze: Sequence[str]) -> dict[str, int]:
    """The number of trained parameters of each leaf of `params`, by name: those with a multiplier
    above 0, in leaves that no pattern of `freeze` matches."""
    held, factors = flatten(matches(params, freeze)), flatten(multipliers)
    return {
        name: 0 if held[name] else round(leaf.size * float(np.mean(np.asarray(factors[name]) != 0)))
        for name, leaf in flatten(params).items()
    }
