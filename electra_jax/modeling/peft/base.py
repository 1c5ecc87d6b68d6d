"""Which parameters fine-tuning trains.

An adaptation splits a network's parameters into a trained and a frozen tree and merges them inside
the step; the loop, the optimizer and the checkpoints know nothing more of it. A further method
(AdaLoRA, adapters, (IA)³, prefix tuning) is another file here.
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
    """A way to split parameters. The trained tree may be flat: {"a/b/c": array}."""

    def split(self, params: Tree, key: jax.Array) -> tuple[Tree, Tree]:
        """(trained, frozen) of a network's parameters; `key` initialises new ones."""
        ...

    def merge(self, trained: Tree, frozen: Tree) -> Tree:
        """The network's parameters."""
        ...


@dataclasses.dataclass(frozen=True)
class Full:
    """Everything is trained."""

    def split(self, params: Tree, key: jax.Array) -> tuple[Tree, Tree]:
        """(all parameters, nothing)."""
        return params, {}

    def merge(self, trained: Tree, frozen: Tree) -> Tree:
        """The trained parameters."""
        return trained


def is_head(name: str) -> bool:
    """Whether a parameter belongs to the task's head."""
    return not name.startswith((ENCODER_PREFIX, f"{LORA}/"))


def count(tree: Tree, head: bool = True) -> int:
    """Parameters in a tree, with or without the head's."""
    flat = flatten(tree)
    return sum(int(x.size) for n, x in flat.items() if head or not is_head(n))
