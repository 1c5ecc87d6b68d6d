"""The measured difference between a network here and the same folder in `transformers`, where
that is installed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.model import ElectraConfig
from electra_jax.interop.formats.model_folder import CONFIG
from electra_jax.interop.mapping.infer_shapes import module_of
from electra_jax.interop.mapping.names import GENERATOR
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.modeling.heads.huggingface import CHOICE

ROWS, LENGTH = 3, 24


def difference(
    folder: str | os.PathLike[str],
    kind: str,
    config: ElectraConfig,
    params: Mapping[str, Any],
    num_labels: int | None = None,
) -> tuple[float, float] | None:
    """(largest difference, largest output) of `params` here and of `folder` in `transformers`.

    The inputs are random ids with padding and two segments; logits are compared at real tokens
    (hidden states for a bare encoder). None where `transformers` or torch is not installed.
    """
    architecture = json.loads((Path(folder) / CONFIG).read_text("utf-8"))["architectures"][0]
    try:
        import transformers

        transformers.utils.logging.disable_progress_bar()
        theirs = getattr(transformers, architecture).from_pretrained(folder).eval()
    except ImportError:
        return None
    ids, mask, types = _batch(config)
    # Tensors are made by a parameter of the model: torch itself is never imported here.
    like = next(theirs.parameters())
    arguments = {"input_ids": ids, "attention_mask": mask}
    if config.block == "bert":
        arguments["token_type_ids"] = types
    if kind == CHOICE:
        arguments = {name: value[None] for name, value in arguments.items()}
    output = theirs(**{k: like.new_tensor(v.tolist()).long() for k, v in arguments.items()})
    if hasattr(output, "start_logits"):
        pair = (output.start_logits, output.end_logits)
        expected = np.stack([x.detach().numpy() for x in pair], -1)
    else:
        values = output.logits if hasattr(output, "logits") else output.last_hidden_state
        expected = values.detach().numpy()
    ours = _forward(kind, config, params, num_labels, (ids, mask, types))
    expected = expected.reshape(ours.shape)
    if ours.shape[:2] == mask.shape:
        ours, expected = ours[mask > 0], expected[mask > 0]
    return float(np.abs(ours - expected).max()), float(np.abs(expected).max())


def _batch(config: ElectraConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """input_ids, attention_mask and token_type_ids, int32 [rows, length]."""
    rng = np.random.default_rng(0)
    length = min(LENGTH, config.max_position_embeddings)
    ids = rng.integers(0, config.vocab_size, (ROWS, length)).astype(np.int32)
    mask, types = np.ones_like(ids), np.zeros_like(ids)
    mask[1, length // 2 :] = 0
    types[:, length // 3 :] = min(1, config.type_vocab_size - 1)
    return ids, mask, types


def _forward(
    kind: str,
    config: ElectraConfig,
    params: Mapping[str, Any],
    num_labels: int | None,
    batch: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    ids, mask, types = batch
    module = module_of(config, kind, num_labels)
    inputs = Inputs(
        jnp.asarray(ids),
        padding_mask(jnp.asarray(mask)),
        jnp.asarray(types) if config.block == "bert" else None,
    )
    arguments: list[Any] = [inputs]
    if kind == GENERATOR:
        positions = np.arange(ids.shape[1], dtype=np.int32)
        arguments.append(jnp.asarray(np.broadcast_to(positions, ids.shape)))
    # At full precision: a GPU's or TPU's faster products would hide an error of the mapping.
    with jax.default_matmul_precision("highest"):
        return np.asarray(module.apply({"params": params}, *arguments))
