"""LoRA: low-rank updates of kernels and of the word embeddings."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.config.finetuning import TuneSettings
from electra_jax.errors import UserError
from electra_jax.modeling.peft.base import LORA, WORD_EMBEDDINGS, Tree, is_head
from electra_jax.modeling.trees import flatten, unflatten


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


@dataclasses.dataclass(frozen=True)
class LoRA:
    """matrix + (alpha / rank) · a @ b with a and b trained, beside the head (Hu et al. 2022).

    `targets` is a regex over kernels' names; `embedding_rank` is that of the word embeddings'
    update (0: none). One factor starts at zero, so the network starts as its base: b for kernels,
    and for the word embeddings a [vocabulary, rank], so that words that do not
    occur in training stay as they were.
    """

    rank: int = TuneSettings.rank
    alpha: float = TuneSettings.alpha
    targets: str = TuneSettings.targets
    embedding_rank: int = TuneSettings.embedding_rank

    def split(self, params: Tree, key: jax.Array) -> tuple[Tree, Tree]:
        """(low-rank factors and head, the base's encoder)."""
        flat = flatten(params)
        chosen = [
            n
            for n in sorted(flat)
            if not is_head(n) and re.search(self.targets, n) and n.endswith("/kernel")
        ]
        if not chosen:
            raise UserError(f"tune.targets={self.targets!r} matches no kernel of the encoder")
        trained = {n: x for n, x in flat.items() if is_head(n)}
        for number, name in enumerate(chosen):
            *stack, inputs, outputs = flat[name].shape
            a = jax.random.normal(jax.random.fold_in(key, number), (*stack, inputs, self.rank))
            trained[f"{LORA}/{name}/a"] = a / jnp.sqrt(float(inputs))
            trained[f"{LORA}/{name}/b"] = jnp.zeros((*stack, self.rank, outputs))
        if self.embedding_rank:
            vocabulary, width = flat[WORD_EMBEDDINGS].shape
            b = jax.random.normal(
                jax.random.fold_in(key, len(chosen)), (self.embedding_rank, width)
            )
            trained[f"{LORA}/{WORD_EMBEDDINGS}/a"] = jnp.zeros((vocabulary, self.embedding_rank))
            trained[f"{LORA}/{WORD_EMBEDDINGS}/b"] = b / jnp.sqrt(float(width))
        return trained, {n: x for n, x in flat.items() if n not in trained}

    def merge(self, trained: Tree, frozen: Tree) -> Tree:
        """The base with its updates added."""
        return unflatten(lora_update({**frozen, **trained}, self.alpha / self.rank))
