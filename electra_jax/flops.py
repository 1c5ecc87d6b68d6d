"""Floating-point operations of training, per token, under two conventions.

The model convention counts matrix products alone, two operations a multiply-add, backward = 2 ×
forward, masked positions as they are; embedding lookups, LayerNorm, softmax, activations, dropout
and recomputation are not counted. MFU = tokens/s × that ÷ the device's peak, padding not counted as
tokens. The reference's convention (its `flops_computation.py`) also counts elementwise work and
embedding lookups as products with one-hot rows, and backward = 1 × forward; the paper's totals are
in it.
"""

from __future__ import annotations

from electra_jax.config.model import ElectraConfig, PairConfig

# The reference's cost of one element, forward.
_DROPOUT, _LAYER_NORM, _ACTIVATION, _SOFTMAX = 4, 5, 8, 5


def encoder_flops_per_token(config: ElectraConfig, context: float) -> float:
    """Forward FLOPs of one token through the encoder, embedding projection included.

    `context` is the mean number of tokens that a token may attend to: the row's length, or for
    packed rows Σ length² / Σ length over the segments.
    """
    h, f = config.hidden_size, config.intermediate_size
    feed_forward = (6 if config.block == "modern" else 4) * h * f
    layer = 8 * h * h + 4 * context * h + feed_forward
    projection = 2 * config.embedding_size * h if config.embedding_size != h else 0
    return config.num_hidden_layers * layer + projection


def discriminator_flops_per_token(config: ElectraConfig, context: float) -> float:
    """Forward FLOPs of one token through encoder and replaced-token head."""
    return encoder_flops_per_token(config, context) + replaced_head_flops(config)


def replaced_head_flops(config: ElectraConfig) -> float:
    """Forward FLOPs of the replaced-token head at one position."""
    return 2 * config.hidden_size**2 + 2 * config.hidden_size


def masked_lm_flops_per_token(config: ElectraConfig, context: float, masked: float) -> float:
    """Forward FLOPs of one token through encoder and masked-LM head, which runs on a share
    `masked` of the tokens."""
    return encoder_flops_per_token(config, context) + masked * masked_lm_head_flops(config)


def masked_lm_head_flops(config: ElectraConfig) -> float:
    """Forward FLOPs of the masked-LM head at one position."""
    e = config.embedding_size
    return 2 * config.hidden_size * e + 2 * e * config.vocab_size


def train_flops_per_token(
    pair: PairConfig, seq_len: int, mask_prob: float = 0.15, context: float | None = None
) -> float:
    """Model FLOPs of training the pair on one token: 3 × forward of both networks.

    `context` as in `encoder_flops_per_token`, by default `seq_len` (one document a row). The
    masked-LM head counts int((mask_prob + .005) · seq_len) positions a row.
    """
    context = seq_len if context is None else context
    forward = discriminator_flops_per_token(pair.discriminator, context)
    if pair.generator is not None:
        masked = int((mask_prob + 0.005) * seq_len) / seq_len
        forward += masked_lm_flops_per_token(pair.generator, context, masked)
    return 3 * forward


def electric_flops_per_token(
    config: PairConfig, seq_len: int, mask_prob: float = 0.15, context: float | None = None
) -> float:
    """Model FLOPs of training Electric on one token: 3 × forward of the discriminator, of both
    towers, and of the head of twice their width at every position and once more where noise is
    sampled."""
    assert config.generator is not None
    context = seq_len if context is None else context
    g = config.generator
    e = g.embedding_size
    head = 2 * (2 * g.hidden_size) * e + 2 * e * g.vocab_size
    forward = discriminator_flops_per_token(config.discriminator, context)
    forward += 2 * encoder_flops_per_token(g, context)
    forward += (1 + int((mask_prob + 0.005) * seq_len) / seq_len) * head
    return 3 * forward


def reference_train_flops_per_token(
    pair: PairConfig, seq_len: int, output_share: float = 0.15625
) -> float:
    """FLOPs of training a pair of `bert` networks on one token under the reference's convention."""
    total = _reference_forward(pair.discriminator, seq_len)
    h = pair.discriminator.hidden_size
    total += 2 * h * h + 2 * h + (1 + _ACTIVATION) * h
    if pair.generator is not None:
        g = pair.generator
        e, v = g.embedding_size, g.vocab_size
        hidden = 2 * g.hidden_size * e + (1 + _ACTIVATION + _LAYER_NORM) * e
        softmax = 2 * e * v + (_SOFTMAX + 2) * v
        total += _reference_forward(g, seq_len) + output_share * (hidden + softmax)
    return 2 * total


def _reference_forward(config: ElectraConfig, seq_len: int) -> float:
    """Embeddings and layers. The reference counts its one-hot lookups, adds a bias to every dense
    layer, and charges attention's LayerNorm once a token where the other is charged per unit."""
    h, f, e = config.hidden_size, config.intermediate_size, config.embedding_size
    scores = seq_len * config.num_attention_heads
    attention = 8 * h * h + 4 * h * seq_len + 4 * h  # products and biases
    attention += (_SOFTMAX + _DROPOUT + 1) * scores + (_DROPOUT + 1) * h + _LAYER_NORM
    feed_forward = 4 * h * f + f + h + _ACTIVATION * f + (_DROPOUT + 1 + _LAYER_NORM) * h
    lookup = 2 * e * (config.vocab_size + seq_len + 2) + (2 + _LAYER_NORM + _DROPOUT) * e
    projection = 2 * h * e + h if e != h else 0
    return config.num_hidden_layers * (attention + feed_forward) + lookup + projection
