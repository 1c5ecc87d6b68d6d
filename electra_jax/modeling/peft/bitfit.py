"""BitFit: biases and the head."""

from __future__ import annotations

import dataclasses

import jax

from electra_jax.modeling.peft.base import Tree, is_head
from electra_jax.modeling.trees import flatten, unflatten


@dataclasses.dataclass(frozen=True)
class BitFit:
    """The encoder's biases and the head are trained (Ben Zaken et al. 2022)."""

    def split(self, params: Tree, key: jax.Array) -> tuple[Tree, Tree]:
        """(biases and head, the other parameters)."""
        flat = flatten(params)
        trained = {n: x for n, x in flat.items() if is_head(n) or n.endswith("/bias")}
        return trained, {n: x for n, x in flat.items() if n not in trained}

    def merge(self, trained: Tree, frozen: Tree) -> Tree:
        """Both trees in one."""
        return unflatten({**trained, **frozen})
