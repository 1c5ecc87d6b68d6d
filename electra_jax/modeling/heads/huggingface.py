"""The fine-tuning networks of `transformers`: ElectraFor… over `bert` blocks, ModernBertFor… over
`modern` ones.

Letters: B rows, L length, H hidden width, C labels. `dropout_rate` is Hugging Face's
classifier_dropout.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from electra_jax.config.model import ElectraConfig
from electra_jax.modeling.dropout import DropoutRng, dropout
from electra_jax.modeling.electra import Backbone, Inputs
from electra_jax.modeling.layers import Dense, LayerNorm, activation

SEQUENCE, TOKEN = "sequence_classification", "token_classification"
QUESTION, CHOICE = "question_answering", "multiple_choice"
HEADS = (SEQUENCE, TOKEN, QUESTION, CHOICE)
HEAD_SITE, HEAD_OUTPUT_SITE = 5, 6


class Encoder(nn.Module):
    """A network without a head: hidden states [B, L, H] (ElectraModel, BertModel,
    ModernBertModel).
    """

    config: ElectraConfig

    @nn.compact
    def __call__(self, inputs: Inputs, rng: DropoutRng | None = None) -> jax.Array:
        return Backbone(self.config, name="electra")(inputs, rng)


class _ClassificationHead(nn.Module):
    """dropout → dense → gelu → dropout → dense (ElectraClassificationHead; always the exact
    gelu).
    """

    config: ElectraConfig
    num_labels: int
    dropout_rate: float

    @nn.compact
    def __call__(self, x: jax.Array, rng: DropoutRng | None) -> jax.Array:
        c = self.config
        x = dropout(x, self.dropout_rate, rng, HEAD_SITE)
        x = activation("gelu", Dense(c, c.hidden_size, name="dense")(x))
        x = dropout(x, self.dropout_rate, rng, HEAD_OUTPUT_SITE)
        return Dense(c, self.num_labels, name="out_proj")(x)


class _Summary(nn.Module):
    """dense → gelu → dropout (ElectraSequenceSummary with its default settings)."""

    config: ElectraConfig
    dropout_rate: float

    @nn.compact
    def __call__(self, x: jax.Array, rng: DropoutRng | None) -> jax.Array:
        x = activation("gelu", Dense(self.config, self.config.hidden_size, name="summary")(x))
        return dropout(x, self.dropout_rate, rng, HEAD_OUTPUT_SITE)


class _ModernHead(nn.Module):
    """dense → activation → LayerNorm, without biases (ModernBertPredictionHead)."""

    config: ElectraConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        c = self.config
        x = activation(c.hidden_act, Dense(c, c.hidden_size, use_bias=False, name="dense")(x))
        return LayerNorm(c, use_bias=False, name="LayerNorm")(x)


def _mean(hidden: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean state [B, H] of what a padding mask [B, 1, 1, L] shows."""
    shown = mask[:, 0, 0, :, None]
    return (hidden * shown).sum(1) / shown.sum(1)


class FineTuned(nn.Module):
    """An encoder with one of Hugging Face's heads; logits in float32.

    `kind`: "sequence_classification" [B, C], "token_classification" [B, L, C], "question_answering"
    [B, L, 2] (start, end), "multiple_choice" [B] (one score for each row; the caller groups the
    choices of a question).
    """

    config: ElectraConfig
    kind: str
    num_labels: int = 2
    dropout_rate: float = 0.1

    @nn.compact
    def __call__(self, inputs: Inputs, rng: DropoutRng | None = None) -> jax.Array:
        c = self.config
        hidden = Backbone(c, name="electra")(inputs, rng)
        if self.kind in (SEQUENCE, CHOICE):
            hidden = _mean(hidden, inputs.mask) if c.pooling == "mean" else hidden[:, 0]
        if c.block == "modern":
            logits = self._modern(hidden, rng)
        elif self.kind == SEQUENCE:
            head = _ClassificationHead(c, self.num_labels, self.dropout_rate, name="classifier")
            logits = head(hidden, rng)
        elif self.kind == CHOICE:
            pooled = _Summary(c, self.dropout_rate, name="sequence_summary")(hidden, rng)
            logits = Dense(c, 1, name="classifier")(pooled)
        elif self.kind == TOKEN:
            hidden = dropout(hidden, self.dropout_rate, rng, HEAD_SITE)
            logits = Dense(c, self.num_labels, name="classifier")(hidden)
        elif self.kind == QUESTION:
            logits = Dense(c, 2, name="qa_outputs")(hidden)
        else:
            raise ValueError(f"no head of transformers is called {self.kind!r}: {HEADS}")
        logits = logits.astype(jnp.float32)
        return logits[:, 0] if self.kind == CHOICE else logits

    def _modern(self, hidden: jax.Array, rng: DropoutRng | None) -> jax.Array:
        c = self.config
        outputs = {CHOICE: 1, QUESTION: 2}.get(self.kind, self.num_labels)
        hidden = _ModernHead(c, name="head")(hidden)
        hidden = dropout(hidden, self.dropout_rate, rng, HEAD_OUTPUT_SITE)
        return Dense(c, outputs, name="classifier")(hidden)
