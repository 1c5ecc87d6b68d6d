"""ELECTRA as the paper draws it: one backbone, two heads, and the pair that shares embeddings.

Letters: B batch, L length, N masked positions, V vocabulary, E embedding width, H hidden width.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.modeling.dropout import DropoutRng, dropout
from electra_jax.modeling.encoder import Encoder
from electra_jax.modeling.layers import (
    Dense,
    LayerNorm,
    activation,
    batch_constraint,
    glorot_uniform,
    truncated_normal,
)

EMBEDDING_SITE = 4
BERT_TABLES = ("position_embeddings", "token_type_embeddings")
DELTA = "_delta"  # ends the name of a table's difference to the generator's


@struct.dataclass
class Inputs:
    """What an encoder reads.

    `input_ids` int32 [B, L]; `mask` bool broadcastable to [B, 1, L, L] (True: the key may be seen);
    `token_type_ids` int32 [B, L] or None (all 0); `positions` int32 [B, L] or None (0, 1, 2, …).
    `offset` float32 [B, L, E] is added to the word embeddings (adversarial noise). `lengths` int32
    [B] replaces `mask` in cuDNN where every row is one segment, padded on its right; None for other
    rows.
    """

    input_ids: jax.Array
    mask: jax.Array
    token_type_ids: jax.Array | None = None
    positions: jax.Array | None = None
    offset: jax.Array | None = None
    lengths: jax.Array | None = None


def padding_mask(attention_mask: jax.Array) -> jax.Array:
    """The mask [B, 1, 1, L] that hides padding, from an attention mask [B, L] (0 = padding)."""
    return (attention_mask > 0)[:, None, None, :]


class Embeddings(nn.Module):
    """Word (+ position + token type) embeddings → LayerNorm → dropout: [B, L] → [B, L, E]."""

    config: ElectraConfig

    def setup(self) -> None:
        c = self.config
        init = truncated_normal(c.initializer_range)
        self.word_embeddings = self.param("word_embeddings", init, (c.vocab_size, c.embedding_size))
        if c.block == "bert":
            self.position_embeddings = self.param(
                "position_embeddings", init, (c.max_position_embeddings, c.embedding_size)
            )
            self.token_type_embeddings = self.param(
                "token_type_embeddings", init, (c.type_vocab_size, c.embedding_size)
            )
        self.LayerNorm = LayerNorm(c, use_bias=c.block == "bert")

    def tables(self) -> dict[str, jax.Array]:
        """The tables [tokens, positions or types, E] by name."""
        names = ("word_embeddings", *(BERT_TABLES if self.config.block == "bert" else ()))
        return {name: getattr(self, name) for name in names}

    def __call__(self, inputs: Inputs, rng: DropoutRng | None) -> jax.Array:
        return embed(self, self.tables(), inputs, rng)


def embed(
    module: Embeddings | DeltaEmbeddings,
    tables: dict[str, jax.Array],
    inputs: Inputs,
    rng: DropoutRng | None,
) -> jax.Array:
    """The sum of the inputs' rows of `tables`, normalised by the module's LayerNorm, with dropout:
    [B, L, E]."""
    c = module.config
    x = jnp.take(tables["word_embeddings"], inputs.input_ids, axis=0)
    if inputs.offset is not None:
        x = x + inputs.offset
    if c.block == "bert":
        if inputs.positions is None:
            x = x + tables["position_embeddings"][None, : x.shape[1]]
        else:
            x = x + jnp.take(tables["position_embeddings"], inputs.positions, axis=0)
        if inputs.token_type_ids is None:
            x = x + tables["token_type_embeddings"][None, :1]
        else:
            # A product with one-hot rows: its gradient is a sum, not a scatter.
            one_hot = jax.nn.one_hot(inputs.token_type_ids, c.type_vocab_size, dtype=x.dtype)
            x = x + one_hot @ tables["token_type_embeddings"]
    x = module.LayerNorm(x)
    return batch_constraint(dropout(x, c.hidden_dropout_prob, rng, EMBEDDING_SITE))


class DeltaEmbeddings(nn.Module):
    """Embeddings that are another network's tables, through which no gradient passes, plus
    differences of their own, which begin at 0; the LayerNorm is their own.

    He et al. 2021 (DeBERTaV3), section 3.2: gradient-disentangled embedding sharing. The parameters
    `…_delta` are named and shaped like the lender's tables.
    """

    config: ElectraConfig

    def setup(self) -> None:
        c = self.config
        rows = {"word_embeddings": c.vocab_size}
        if c.block == "bert":
            rows["position_embeddings"] = c.max_position_embeddings
            rows["token_type_embeddings"] = c.type_vocab_size
        self.deltas = {
            name: self.param(f"{name}{DELTA}", nn.initializers.zeros, (count, c.embedding_size))
            for name, count in rows.items()
        }
        self.LayerNorm = LayerNorm(c, use_bias=c.block == "bert")

    def tables(self, lender: Embeddings) -> dict[str, jax.Array]:
        """The lender's tables plus the differences, by name."""
        lent = jax.lax.stop_gradient(lender.tables())
        return {name: lent[name] + delta for name, delta in self.deltas.items()}

    def __call__(self, inputs: Inputs, rng: DropoutRng | None, lender: Embeddings) -> jax.Array:
        return embed(self, self.tables(lender), inputs, rng)


class Backbone(nn.Module):
    """Embeddings (own, shared, or a difference to another's) → projection where widths differ →
    encoder."""

    config: ElectraConfig
    own_embeddings: bool = True
    delta_embeddings: bool = False

    def setup(self) -> None:
        c = self.config
        embeddings: Any = DeltaEmbeddings if self.delta_embeddings else Embeddings
        if self.own_embeddings:
            self.embeddings = embeddings(c)
        if c.embedding_size != c.hidden_size:
            self.embeddings_project = Dense(c, c.hidden_size, kernel_init=glorot_uniform)
        self.encoder = Encoder(c)

    def __call__(
        self, inputs: Inputs, rng: DropoutRng | None = None, shared: Embeddings | None = None
    ) -> jax.Array:
        """Hidden states [B, L, H]. `shared`: another network's embeddings, in place of own ones, or
        to which the own ones are a difference."""
        c = self.config
        if self.delta_embeddings:
            hidden = self.embeddings(inputs, rng, shared)
        else:
            hidden = (self.embeddings if shared is None else shared)(inputs, rng)
        if c.embedding_size != c.hidden_size:
            hidden = self.embeddings_project(hidden)
        self.sow("intermediates", "embedded", hidden)
        mask = inputs.mask
        if c.attention == "cudnn" and inputs.lengths is not None:
            mask = inputs.lengths
        return self.encoder(hidden, mask, inputs.positions, rng)


class GeneratorHead(nn.Module):
    """Masked-LM head: dense H→E → activation → LayerNorm → word tableᵀ + bias: [..., H] → float32
    [..., V]."""

    config: ElectraConfig

    @nn.compact
    def __call__(self, hidden: jax.Array, word_embeddings: jax.Array) -> jax.Array:
        c = self.config
        bert = c.block == "bert"
        x = Dense(c, c.embedding_size, use_bias=bert, name="dense")(hidden)
        x = activation(c.masked_lm_act or c.hidden_act, x)
        x = LayerNorm(c, use_bias=bert, name="LayerNorm")(x)
        if not c.tie_word_embeddings:
            init = truncated_normal(c.initializer_range)
            shape = (c.vocab_size, c.embedding_size)
            word_embeddings = self.param("output_embeddings", init, shape)
        bias = self.param("output_bias", nn.initializers.zeros, (c.vocab_size,))
        # Two dimensions, as in `Dense`.
        flat, table = x.reshape(-1, x.shape[-1]), word_embeddings.T.astype(x.dtype)
        logits = jnp.matmul(flat, table, preferred_element_type=jnp.float32)
        return (logits + bias[None, :]).reshape(*x.shape[:-1], -1)


class DiscriminatorHead(nn.Module):
    """Replaced-token head: dense H→H → activation (→ LayerNorm) → dense H→1: [B, L, H] → float32
    [B, L].

    DeBERTa's reads LayerNorm(state + state of [CLS]), and has no LayerNorm after the activation.
    """

    config: ElectraConfig

    @nn.compact
    def __call__(self, hidden: jax.Array, inputs: Inputs) -> jax.Array:
        c = self.config
        bert, deberta = c.block == "bert", c.discriminator_head == "deberta"
        if deberta:
            norm = LayerNorm(c, use_bias=bert, name="LayerNorm")
            hidden = norm(hidden + first_states(hidden, inputs))
        x = activation(c.hidden_act, Dense(c, c.hidden_size, use_bias=bert, name="dense")(hidden))
        if not bert and not deberta:
            x = LayerNorm(c, use_bias=False, name="LayerNorm")(x)
        logits = Dense(c, 1, kernel_init=glorot_uniform, name="dense_1")(x)
        return logits[..., 0].astype(jnp.float32)


def first_states(hidden: jax.Array, inputs: Inputs) -> jax.Array:
    """The state of [CLS] for every token of hidden [B, L, H]: where a row is packed, that of the
    token's own segment."""
    if inputs.positions is None:
        return hidden[:, :1]
    start = jnp.arange(hidden.shape[1])[None, :] - inputs.positions
    return gather_positions(hidden, start)


def gather_positions(hidden: jax.Array, positions: jax.Array) -> jax.Array:
    """hidden [B, L, H] at positions [B, N] → [B, N, H]."""
    return jnp.take_along_axis(hidden, positions[..., None], axis=1)


class Electra(nn.Module):
    """Generator and discriminator with what they share (`PairConfig.sharing`).

    `detects` and `predicts` say which heads the discriminator has: for replaced tokens
    (`discriminator_predictions`), and a masked-LM head of its own (`masked_lm_predictions`).
    """

    config: PairConfig
    detects: bool = True
    predicts: bool = False

    def setup(self) -> None:
        p = self.config
        self.electra = Backbone(p.discriminator, delta_embeddings=p.sharing == "gdes")
        if p.generator is not None:
            if p.sharing != "all":
                self.generator = Backbone(p.generator, own_embeddings=p.own_embeddings)
            self.generator_predictions = GeneratorHead(p.generator)
        if self.detects:
            self.discriminator_predictions = DiscriminatorHead(p.discriminator)
        if self.predicts:
            self.masked_lm_predictions = GeneratorHead(p.discriminator)

    def generator_hidden(self, inputs: Inputs, rng: DropoutRng | None = None) -> jax.Array:
        """The generator's hidden states [B, L, Hg]."""
        p = self.config
        if p.sharing == "all":
            return self.electra(inputs, rng)
        shared = self.electra.embeddings if p.sharing == "embeddings" else None
        return self.generator(inputs, rng, shared)

    def generator_logits(
        self, inputs: Inputs, positions: jax.Array, rng: DropoutRng | None = None
    ) -> jax.Array:
        """Masked-LM logits float32 [B, N, V] at `positions` int32 [B, N]; zeros without a
        generator."""
        p = self.config
        if p.generator is None:
            return jnp.zeros((*positions.shape, p.discriminator.vocab_size), jnp.float32)
        hidden = gather_positions(self.generator_hidden(inputs, rng), positions)
        owner = self.generator if p.own_embeddings else self.electra
        return self.generator_predictions(hidden, owner.embeddings.word_embeddings)

    def discriminator_logits(self, inputs: Inputs, rng: DropoutRng | None = None) -> jax.Array:
        """Logit that each token was replaced, float32 [B, L]."""
        return self.replaced_logits(self.discriminator_hidden(inputs, rng), inputs)

    def discriminator_hidden(self, inputs: Inputs, rng: DropoutRng | None = None) -> jax.Array:
        """The discriminator's hidden states [B, L, H]."""
        lender = self.generator.embeddings if self.config.sharing == "gdes" else None
        return self.electra(inputs, rng, lender)

    def replaced_logits(self, hidden: jax.Array, inputs: Inputs) -> jax.Array:
        """Logit that each token was replaced, float32 [B, L], from the discriminator's states."""
        return self.discriminator_predictions(hidden, inputs)

    def masked_lm_logits(self, hidden: jax.Array) -> jax.Array:
        """The discriminator's own masked-LM logits float32 [B, N, V] from its states [B, N, H]."""
        embeddings = self.electra.embeddings
        if self.config.sharing == "gdes":
            table = embeddings.tables(self.generator.embeddings)["word_embeddings"]
        else:
            table = embeddings.word_embeddings
        return self.masked_lm_predictions(hidden, table)

    def __call__(self, inputs: Inputs, positions: jax.Array) -> tuple[jax.Array, ...]:
        """Every head on the same inputs (used to initialise): logits of the generator, and of the
        discriminator's heads."""
        found = [self.generator_logits(inputs, positions)]
        hidden = self.discriminator_hidden(inputs)
        if self.detects:
            found.append(self.replaced_logits(hidden, inputs))
        if self.predicts:
            found.append(self.masked_lm_logits(gather_positions(hidden, positions)))
        return tuple(found)


class MaskedLM(nn.Module):
    """A single network with a masked-LM head: the reference's MLM baseline, and the generator as a
    model of its own."""

    config: ElectraConfig

    def setup(self) -> None:
        self.electra = Backbone(self.config)
        self.generator_predictions = GeneratorHead(self.config)

    def __call__(
        self, inputs: Inputs, positions: jax.Array, rng: DropoutRng | None = None
    ) -> jax.Array:
        """Masked-LM logits float32 [B, N, V] at `positions` int32 [B, N]."""
        hidden = gather_positions(self.electra(inputs, rng), positions)
        return self.generator_predictions(hidden, self.electra.embeddings.word_embeddings)


class Discriminator(nn.Module):
    """A discriminator as a model of its own: logit that each token was replaced, float32 [B, L]."""

    config: ElectraConfig

    def setup(self) -> None:
        self.electra = Backbone(self.config)
        self.discriminator_predictions = DiscriminatorHead(self.config)

    def __call__(self, inputs: Inputs, rng: DropoutRng | None = None) -> jax.Array:
        return self.discriminator_predictions(self.electra(inputs, rng), inputs)
