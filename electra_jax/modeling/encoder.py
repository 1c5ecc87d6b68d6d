"""The two block styles and the stack of layers, scanned or unrolled over parameters stacked
`[layers, …]`.

A block maps (hidden [batch, length, width], mask, positions, rng, per-layer inputs) to hidden.
The caller gives the mask, and so decides which positions attend to which (padding, packed rows).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from electra_jax.config.model import ElectraConfig
from electra_jax.modeling.attention import RotaryAttention, SelfAttention
from electra_jax.modeling.dropout import DropoutRng, dropout
from electra_jax.modeling.layers import (
    Dense,
    LayerNorm,
    activation,
    batch_constraint,
    layer_norm,
    truncated_normal,
)

ATTENTION_SITE, ATTENTION_OUTPUT_SITE, FEED_FORWARD_SITE = 1, 2, 3


class _Residual(nn.Module):
    """dense → dropout → LayerNorm(x + ·), the reference's output of attention and of the
    feed-forward."""

    config: ElectraConfig

    @nn.compact
    def __call__(
        self, x: jax.Array, residual: jax.Array, rng: DropoutRng | None, site: int
    ) -> jax.Array:
        c = self.config
        y = Dense(c, c.hidden_size, name="dense")(x)
        y = dropout(y, c.hidden_dropout_prob, rng, site)
        return LayerNorm(c, name="LayerNorm")(y + residual)


class _Attention(nn.Module):
    config: ElectraConfig

    @nn.compact
    def __call__(self, hidden: jax.Array, mask: jax.Array, rng: DropoutRng | None) -> jax.Array:
        mixed = SelfAttention(self.config, name="self")(hidden, mask, rng, ATTENTION_SITE)
        return _Residual(self.config, name="output")(mixed, hidden, rng, ATTENTION_OUTPUT_SITE)


class _Intermediate(nn.Module):
    config: ElectraConfig

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        c = self.config
        return activation(c.hidden_act, Dense(c, c.intermediate_size, name="dense")(hidden))


class BertBlock(nn.Module):
    """Post-LayerNorm transformer layer of BERT and ELECTRA."""

    config: ElectraConfig

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        mask: jax.Array,
        positions: jax.Array | None,
        rng: DropoutRng | None,
        layer: dict[str, jax.Array],
    ) -> tuple[jax.Array, None]:
        rng = rng.fold(layer["index"]) if rng is not None else None
        hidden = _Attention(self.config, name="attention")(hidden, mask, rng)
        wide = _Intermediate(self.config, name="intermediate")(hidden)
        hidden = _Residual(self.config, name="output")(wide, hidden, rng, FEED_FORWARD_SITE)
        return batch_constraint(hidden), None


class _GatedMlp(nn.Module):
    """GeGLU: activation(first half of Wi x) · second half → Wo, without biases."""

    config: ElectraConfig

    @nn.compact
    def __call__(self, x: jax.Array, rng: DropoutRng | None) -> jax.Array:
        c = self.config
        both = Dense(c, 2 * c.intermediate_size, use_bias=False, name="Wi")(x)
        value, gate = jnp.split(both, 2, axis=-1)
        mixed = activation(c.hidden_act, value) * gate
        mixed = dropout(mixed, c.hidden_dropout_prob, rng, FEED_FORWARD_SITE)
        init = truncated_normal(c.initializer_range / (2 * c.num_hidden_layers) ** 0.5)
        return Dense(c, c.hidden_size, use_bias=False, kernel_init=init, name="Wo")(mixed)


class ModernBlock(nn.Module):
    """ModernBERT's layer with global attention; the first layer's attention norm is the
    identity."""

    config: ElectraConfig

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        mask: jax.Array,
        positions: jax.Array,
        rng: DropoutRng | None,
        layer: dict[str, jax.Array],
    ) -> tuple[jax.Array, None]:
        c = self.config
        rng = rng.fold(layer["index"]) if rng is not None else None
        normed = layer_norm(hidden, layer["attention_scale"], None, c.layer_norm_eps)
        normed = jnp.where(layer["index"] == 0, hidden.astype(jnp.float32), normed).astype(c.dtype)
        attended = RotaryAttention(c, name="attention")(
            normed, mask, positions, rng, ATTENTION_SITE
        )
        attended = dropout(attended, c.attention_probs_dropout_prob, rng, ATTENTION_OUTPUT_SITE)
        hidden = hidden + attended
        normed = LayerNorm(c, use_bias=False, name="mlp_norm")(hidden)
        return batch_constraint(hidden + _GatedMlp(c, name="mlp")(normed, rng)), None


class _AttentionNorms(nn.Module):
    """The scales [layers − 1, width] of the attention norms of every layer but the first."""

    config: ElectraConfig

    @nn.compact
    def __call__(self) -> jax.Array:
        c = self.config
        first = jnp.ones((1, c.hidden_size))
        if c.num_hidden_layers == 1:
            return first
        shape = (c.num_hidden_layers - 1, c.hidden_size)
        return jnp.concatenate([first, self.param("scale", nn.initializers.ones, shape)])


_REMAT_POLICIES: dict[str, Any] = {
    "full": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class Encoder(nn.Module):
    """The stack of layers: hidden [batch, length, width] → hidden states of the last layer, the
    same shape."""

    config: ElectraConfig

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        mask: jax.Array,
        positions: jax.Array | None = None,
        rng: DropoutRng | None = None,
    ) -> jax.Array:
        c = self.config
        layers = {"index": jnp.arange(c.num_hidden_layers)}
        block: Any = BertBlock
        if c.block == "modern":
            block = ModernBlock
            layers["attention_scale"] = _AttentionNorms(c, name="attention_norm")()
            if positions is None:
                positions = jnp.arange(hidden.shape[1])[None, :]
        if c.remat != "none":
            block = nn.remat(block, prevent_cse=not c.scan_layers, policy=_REMAT_POLICIES[c.remat])
        stack = nn.scan(
            block,
            variable_axes={"params": 0, "intermediates": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, nn.broadcast, nn.broadcast, 0),
            length=c.num_hidden_layers,
            unroll=1 if c.scan_layers else c.num_hidden_layers,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )
        hidden, _ = stack(c, name="layer")(hidden, mask, positions, rng, layers)
        if c.block == "modern":
            hidden = LayerNorm(c, use_bias=False, name="final_norm")(hidden)
        return hidden


def split_layers(params: Any) -> Any:
    """Parameters of a network with every stack of layers as a list of its layers, for inference.

    A program that takes stacked layers and runs them unrolled copies every layer out of the stack
    at each call, which for a short row costs as much as the rest. `join_layers`, called inside the
    program, stacks them again, and the compiler removes the copies.
    """

    def split(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return list(leaf) if "encoder/layer/" in name else leaf

    return jax.tree_util.tree_map_with_path(split, params)


def join_layers(params: Any) -> Any:
    """Undoes `split_layers`."""

    def is_stack(x: Any) -> bool:
        return isinstance(x, list)

    return jax.tree.map(lambda x: jnp.stack(x) if is_stack(x) else x, params, is_leaf=is_stack)
