"""Which parameters fine-tuning trains: all of them, biases (BitFit), or low-rank updates (LoRA).

An adaptation splits a network's parameters into a trained and a frozen tree and puts them together
again inside the step; training, optimizers and checkpoints see nothing else of it. Further methods
(AdaLoRA, adapters, (IA)³, prefix tuning) are further classes here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from electra_jax.errors import UserError
from electra_jax.interop.adapters import LORA, lora_update
from electra_jax.interop.names import flatten, unflatten

Tree = Any
ENCODER_PREFIX = "electra/"
WORD_EMBEDDINGS = f"{ENCODER_PREFIX}embeddings/word_embeddings"


class Adaptation(Protocol):
    """A way to split parameters. Trees of what is trained may be flat: {"a/b/c": array}."""

    def split(self, params: Tree, key: jax.Array) -> tuple[Tree, Tree]:
        """(trained, frozen) of a network's parameters; `key` draws what is new."""
        ...

    def merge(self, trained: Tree, frozen: Tree) -> Tree:
        """The network's parameters."""
        ...


@dataclasses.dataclass(frozen=True)
class Full:
    """Everything is trained."""

    def split(self, params: Tree, key: jax.Array) -> tuple[Tree, Tree]:
        """All, nothing."""
        return params, {}

    def merge(self, trained: Tree, frozen: Tree) -> Tree:
        """As they are."""
        return trained


@dataclasses.dataclass(frozen=True)
class BitFit:
    """The encoder's biases and the head are trained (Ben Zaken et al. 2022)."""

    def split(self, params: Tree, key: jax.Array) -> tuple[Tree, Tree]:
        """Biases and head, the rest."""
        flat = flatten(params)
        trained = {n: x for n, x in flat.items() if is_head(n) or n.endswith("/bias")}
        return trained, {n: x for n, x in flat.items() if n not in trained}

    def merge(self, trained: Tree, frozen: Tree) -> Tree:
        """The two side by side."""
        return unflatten({**trained, **frozen})


@dataclasses.dataclass(frozen=True)
class LoRA:
    """matrix + (alpha / rank) · a @ b with a and b trained, beside the head (Hu et al. 2022).

    `targets` is a regex over kernels' names; `embedding_rank` is that of the word embeddings'
    update (0: none). One factor starts at zero, so the network starts as its base: b for kernels,
    and for the word embeddings a [vocabulary, rank], so that words not seen in training stay as
    they were.
    """

    rank: int = 3
    alpha: float = 6.0
    targets: str = "kernel"
    embedding_rank: int = 3

    def split(self, params: Tree, key: jax.Array) -> tuple[Tree, Tree]:
        """Low-rank factors and head, the base's encoder."""
        flat = flatten(params)
        chosen = [
            n for n in sorted(flat) if not is_head(n) and re.search(self.targets, n) and _kernel(n)
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
            words, width = flat[WORD_EMBEDDINGS].shape
            b = jax.random.normal(
                jax.random.fold_in(key, len(chosen)), (self.embedding_rank, width)
            )
            trained[f"{LORA}/{WORD_EMBEDDINGS}/a"] = jnp.zeros((words, self.embedding_rank))
            trained[f"{LORA}/{WORD_EMBEDDINGS}/b"] = b / jnp.sqrt(float(width))
        return trained, {n: x for n, x in flat.items() if n not in trained}

    def merge(self, trained: Tree, frozen: Tree) -> Tree:
        """The base with its updates added."""
        return unflatten(lora_update({**frozen, **trained}, self.alpha / self.rank))


METHODS = ("full", "bitfit", "lora")


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


def is_head(name: str) -> bool:
    """Does a parameter belong to the task's head?"""
    return not name.startswith((ENCODER_PREFIX, f"{LORA}/"))


def _kernel(name: str) -> bool:
    return name.endswith("/kernel")


def count(tree: Tree, head: bool = True) -> int:
    """Parameters in a tree, with or without the head's."""
    flat = flatten(tree)
    return sum(int(x.size) for n, x in flat.items() if head or not is_head(n))
