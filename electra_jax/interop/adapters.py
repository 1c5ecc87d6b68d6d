"""Small trees that load onto a base model: adapter.safetensors beside adapter_config.json.

Here because loading a model (`interop/folder.py`) must be able to put one onto its base; what
trains them is `finetuning/adaptation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

LORA = "lora"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter.safetensors"


def lora_update(flat: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Adds scale · a @ b to each kernel that has factors `lora/<name>/a` [..., in, rank] and
    `lora/<name>/b` [..., rank, out], in float32; {name: array} without the factors."""
    merged = {n: x for n, x in flat.items() if not n.startswith(f"{LORA}/")}
    for name in flat:
        if name.startswith(f"{LORA}/") and name.endswith("/a"):
            kernel = name.removeprefix(f"{LORA}/").removesuffix("/a")
            a, b = flat[name], flat[name.removesuffix("a") + "b"]
            merged[kernel] = merged[kernel] + scale * jnp.matmul(a, b)
    return merged
