"""Which parameters fine-tuning trains.

An adaptation splits a network's parameters into a trained and a frozen tree and puts them together
again inside the step; training, optimizers and checkpoints see nothing else of it. Each further
method (AdaLoRA, adapters, (IA)³, prefix tuning) is a file here.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax

from electra_jax.modeling.trees import flatten

Tree = Any
ENCODER_PREFIX = "electra/"
LORA = "lora"
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


def is_head(name: str) -> bool:
    """Does a parameter belong to the task's head?"""
    return not name.startswith((ENCODER_PREFIX, f"{LORA}/"))


def count(tree: Tree, head: bool = True) -> int:
    """Parameters in a tree, with or without the head's."""
    flat = flatten(tree)
    return sum(int(x.size) for n, x in flat.items() if head or not is_head(n))
