"""Per-element losses, float32; weights, sums and denominators are the caller's. Labels of replaced
tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def masked_lm_loss(logits: jax.Array, targets: jax.Array, z_loss: float = 0.0) -> jax.Array:
    """Cross-entropy in nats, float32 [B, N], of logits [B, N, V] against ids [B, N].

    With `z_loss` c its gradient is that of cross-entropy + c · logsumexp(logits)² (PaLM,
    arXiv:2204.02311), which keeps logits near log-probabilities; its value stays comparable.
    """
    logits = logits.astype(jnp.float32)
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    # Written out, so that the sampler's exponentials are the same expression, computed once.
    largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    total = jnp.sum(jnp.exp(logits - largest), axis=-1)
    normalizer = jnp.log(total) + largest[..., 0]
    if z_loss:
        penalty = z_loss * jnp.square(normalizer)
        picked = picked - (penalty - jax.lax.stop_gradient(penalty))
    return normalizer - picked


def likeliest(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """bool [B, N]: whether a target [B, N] is the only token with the largest of its logits
    [B, N, V]."""
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)
    # Only the target is as likely as the target: cheaper than finding the likeliest.
    return jnp.sum(logits >= picked, axis=-1) == 1


def copy_mixture_loss(copy_logits: jax.Array, loss: jax.Array, hit: jax.Array) -> jax.Array:
    """-log(c [hit] + (1 - c) p) in nats, of the shape of all three: the loss of a network that
    copies the token it sees with probability c = sigmoid(`copy_logits`), and else predicts.

    `loss` is -log p of the original token; `hit` (bool) whether the token seen is the original.
    """
    predicted = jax.nn.log_sigmoid(-copy_logits) - loss
    either = jnp.logaddexp(jax.nn.log_sigmoid(copy_logits), predicted)
    return -jnp.where(hit, either, predicted)


def replaced_token_loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Binary cross-entropy in nats, float32 [B, L]: logits that a token was replaced against
    labels 0/1."""
    logits = logits.astype(jnp.float32)
    # Written with one condition: `maximum` and `abs` would not agree on a gradient at logit 0.
    positive = logits >= 0
    size = jnp.where(positive, logits, -logits)
    return jnp.where(positive, logits, 0.0) - logits * labels + jnp.log1p(jnp.exp(-size))


def replaced_labels(original: jax.Array, corrupted: jax.Array, valid: jax.Array) -> jax.Array:
    """int32 [B, L]: 1 where the token differs from the original; a sample that hit the original is
    real (0)."""
    return ((original != corrupted) & valid).astype(jnp.int32)
