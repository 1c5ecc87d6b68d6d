"""Attention: rotary positions, softmax over the visible keys, and cuDNN's form of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix import representative
from objectives.tiny import tiny_config

from electra_jax.errors import UserError
from electra_jax.modeling.attention import attend, rotary
from electra_jax.modeling.electra import Backbone, Inputs, padding_mask


def test_rotary_is_multiplication_by_a_complex_phase():
    batch, heads, length, depth, theta = 2, 3, 5, 8, 100.0
    x = np.random.default_rng(0).normal(size=(batch, heads, length, depth))
    positions = np.array([[0, 1, 2, 3, 4], [7, 0, 100, 3, 9]])
    half = depth // 2
    z = x[..., :half] + 1j * x[..., half:]
    frequency = theta ** (-np.arange(half) / half)
    z = z * np.exp(1j * positions[:, None, :, None] * frequency)
    expected = np.concatenate([z.real, z.imag], -1)
    ours = rotary(jnp.asarray(x, jnp.float32), jnp.asarray(positions), theta)
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_rotary_scores_depend_on_distance_alone():
    q, k = (jax.random.normal(jax.random.key(i), (1, 1, 1, 16)) for i in (1, 2))

    def score(i, j):
        return jnp.sum(rotary(q, jnp.array([[i]]), 1e4) * rotary(k, jnp.array([[j]]), 1e4))

    np.testing.assert_allclose(score(3, 1), score(42, 40), rtol=1e-4)
    assert abs(float(score(3, 1) - score(3, 2))) > 1e-2
    np.testing.assert_array_equal(rotary(q, jnp.array([[0]]), 1e4), q)


def test_attention_is_softmax_of_scaled_products_over_what_may_be_seen():
    config = tiny_config(attention_probs_dropout_prob=0.0)
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(1, 2, 4, 8)).astype(np.float32) for _ in range(3))
    seen = np.array([1, 1, 0, 1], bool)
    scores = np.einsum("bnqd,bnkd->bnqk", q, k) / np.sqrt(8)
    weights = np.exp(scores) * seen
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("bnqk,bnkd->bqnd", weights, v).reshape(1, 4, 16)
    ours = attend(
        config, *map(jnp.asarray, (q, k, v)), jnp.asarray(seen)[None, None, None], None, 0
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def _fused(monkeypatch):
    """cuDNN's attention computed by XLA's implementation of the same function; the names of the
    arguments of each call."""
    given = []
    original = jax.nn.dot_product_attention

    def stand_in(*args, implementation, **kwargs):
        assert implementation == "cudnn"
        if (mask := kwargs.get("mask")) is not None:  # not broadcast over queries there
            assert mask.shape[-2:] == (args[0].shape[1], args[1].shape[1])
        given.append(sorted(kwargs))
        return original(*args, implementation="xla", **kwargs)

    monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
    return given


@pytest.mark.parametrize("block", representative(("bert", "modern"), "bert"))
def test_fused_attention_reads_lengths_and_gives_the_same_hidden_states(monkeypatch, block):
    given = _fused(monkeypatch)
    config = tiny_config(
        block=block,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        dtype="bfloat16",
        scan_layers=False,
    )
    ids = jnp.asarray(np.random.default_rng(0).integers(5, config.vocab_size, (3, 12)))
    lengths = jnp.array([12, 7, 1])
    seen = jnp.arange(12)[None, :] < lengths[:, None]
    plain = Inputs(ids, padding_mask(seen))
    params = Backbone(config).init(jax.random.key(0), plain)
    # Large weights, so that attention to padding would show.
    params = jax.tree.map(lambda p: p * 10 if p.ndim == 3 else p, params)
    expected = Backbone(config).apply(params, plain)
    fused = Backbone(config.replace(attention="cudnn"))
    by_mask = fused.apply(params, plain)
    assert given[-1] == ["mask"]
    by_lengths = fused.apply(params, plain.replace(lengths=lengths))
    assert given[-1] == ["key_value_seq_lengths"]
    wrong = fused.apply(params, plain.replace(lengths=jnp.full(3, 12)))

    def difference(hidden):
        return np.abs(np.asarray(hidden - expected, np.float32)[seen]).mean()

    # bfloat16 rounds the weights of attention elsewhere; what padding adds is far more.
    assert max(difference(by_mask), difference(by_lengths)) < 0.02
    assert difference(wrong) > 0.1


def test_fused_attention_is_refused_with_dropout_inside_or_in_float32():
    with pytest.raises(UserError, match="attention_probs_dropout_prob=0"):
        tiny_config(attention="cudnn", attention_probs_dropout_prob=0.1)
    config = tiny_config(attention="cudnn", attention_probs_dropout_prob=0.0, dtype="float32")
    ids = jnp.ones((1, 4), jnp.int32)
    with pytest.raises(UserError, match=r"train\.dtype=bfloat16"):
        Backbone(config).init(jax.random.key(0), Inputs(ids, padding_mask(ids)))
