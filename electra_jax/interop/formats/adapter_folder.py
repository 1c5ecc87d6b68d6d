"""Adapters: trained parameters that are added to a base model, as adapter.safetensors beside
adapter_config.json. `modeling/peft/` trains them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.errors import UserError
from electra_jax.interop.formats.model_card import ModelFacts, model_card, write_card
from electra_jax.interop.formats.model_folder import (
    ADAPTER_FILES,
    copy_tokenizer,
    new_folder,
    write_json,
)
from electra_jax.interop.formats.safetensors import read_safetensors, write_safetensors
from electra_jax.modeling.peft.lora import lora_update
from electra_jax.modeling.trees import flatten, unflatten

ADAPTER_CONFIG, ADAPTER_WEIGHTS = ADAPTER_FILES


def encoder_digest(encoder: Mapping[str, Any]) -> str:
    """Identifies a base's encoder: sha256 over the names, shapes and bytes of its tensors."""
    digest = hashlib.sha256()
    for name, value in sorted(flatten(encoder).items()):
        array = np.ascontiguousarray(value, np.float32)
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_adapter(
    folder: str | os.PathLike[str],
    trained: Mapping[str, np.ndarray],
    *,
    kind: str,
    base: str,
    base_encoder: Mapping[str, Any],
    scale: float,
    tokenizer_folder: str | os.PathLike[str] | None,
    settings: Mapping[str, Any],
    card: ModelFacts | None = None,
) -> None:
    """Writes the parameters {name: array} that were trained on `base`, a whole folder or none.

    `kind` is the `LoadedModel` kind of base and adapter together, `scale` that of low-rank updates,
    `card` are the facts for the model card.
    """
    with new_folder(folder, overwrite=True) as scratch:
        write_safetensors(scratch / ADAPTER_WEIGHTS, trained)
        content = {
            "kind": kind,
            "base": os.path.abspath(base) if os.path.exists(base) else base,
            "base_digest": encoder_digest(base_encoder),
            "scale": scale,
            "settings": dict(settings),
        }
        if tokenizer_folder is not None:
            copy_tokenizer(tokenizer_folder, scratch)
        write_json(scratch / ADAPTER_CONFIG, content)
        facts = dataclasses.replace(card or ModelFacts(), base=base)
        write_card(scratch, model_card(kind, None, settings, facts), Path(folder))


def apply_adapter(
    folder: Path, content: Mapping[str, Any], base_encoder: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters of base and adapter together, nested.

    Raises `UserError` where the base is not the one that the adapter was trained on.
    """
    if encoder_digest(base_encoder) != content["base_digest"]:
        raise UserError(
            f"{folder}: trained on other weights than {content['base']} has now; name its base "
            f"in {ADAPTER_CONFIG}"
        )
    flat = {f"electra/{name}": value for name, value in flatten(base_encoder).items()}
    flat |= read_safetensors(folder / ADAPTER_WEIGHTS)
    return unflatten({n: np.asarray(x) for n, x in lora_update(flat, content["scale"]).items()})
