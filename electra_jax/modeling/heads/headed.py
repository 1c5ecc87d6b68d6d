"""An encoder with one or several heads that a kind of task defines itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax

from electra_jax.config.model import ElectraConfig
from electra_jax.modeling.dropout import DropoutRng
from electra_jax.modeling.electra import Backbone, Inputs


class Headed(nn.Module):
    """An encoder and its heads by name; each is a module class with all but its name filled in
    (`functools.partial(MyHead, config, 64)`), and its parameters stand under that name.

    A head is called as head(hidden [B, L, H], batch, rng, train) and gives {output: array}; the
    heads' outputs are one dict.
    """

    config: ElectraConfig
    heads: tuple[tuple[str, Callable[..., nn.Module]], ...]

    @nn.compact
    def __call__(
        self,
        inputs: Inputs,
        batch: Mapping[str, jax.Array],
        rng: DropoutRng | None = None,
        train: bool = False,
    ) -> dict[str, jax.Array]:
        hidden = Backbone(self.config, name="electra")(inputs, rng)
        outputs: dict[str, jax.Array] = {}
        for name, head in self.heads:
            outputs |= head(name=name)(hidden, batch, rng, train)
        return outputs
