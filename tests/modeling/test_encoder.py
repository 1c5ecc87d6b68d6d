"""The encoder: rotary positions, and one network however its layers are computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix import representative
from objectives.tiny import draws_of, quick_jit, tiny_config

from electra_jax.errors import UserError
from electra_jax.modeling.attention import attend, rotary
from electra_jax.modeling.electra import Backbone, Inputs, padding_mask
from electra_jax.modeling.encoder import join_layers, split_layers
from electra_jax.modeling.layers import activation, layer_norm


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


def test_layer_norm_in_bfloat16_has_float32_statistics():
    x = jnp.asarray(np.random.default_rng(0).normal(300, 1, (4, 256)), jnp.bfloat16)
    y = layer_norm(x, jnp.ones(256), None, 1e-12)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(y).std(-1), 1, rtol=1e-3)


def test_gelu_is_exact_unless_asked():
    x = jnp.linspace(-4, 4, 101)
    exact = np.asarray(x) * 0.5 * (1 + np.asarray(jax.lax.erf(x / np.sqrt(2))))
    np.testing.assert_allclose(activation("gelu", x), exact, atol=1e-6)
    assert 1e-5 < np.abs(np.asarray(activation("gelu_new", x)) - exact).max() < 1e-3
    np.testing.assert_array_equal(activation("relu", x), np.maximum(x, 0))


@pytest.mark.parametrize("block", representative(("bert", "modern"), "modern"))
def test_scanned_unrolled_and_rematerialised_layers_are_one_network(block):
    """Values and gradients, dropout on: the same masks wherever the layers are computed."""
    base = tiny_config(block, num_hidden_layers=3)
    ids = jax.random.randint(jax.random.key(1), (2, 12), 5, base.vocab_size)
    inputs = Inputs(ids, padding_mask(jnp.ones_like(ids).at[1, 9:].set(0)))
    params = Backbone(base).init(jax.random.key(0), inputs)["params"]
    direction = jax.random.normal(jax.random.key(2), (2, 12, base.hidden_size))

    def run(**changes):
        model = Backbone(base.replace(**changes))

        @quick_jit
        def value_and_grad(params):
            def value(params):
                noise = draws_of(2).noise("discriminator_dropout")
                hidden = model.apply({"params": params}, inputs, noise)
                return jnp.sum(hidden * direction), hidden

            return jax.grad(value, has_aux=True)(params)

        return value_and_grad(params)

    grads, hidden = run()
    quiet = Backbone(base).apply({"params": params}, inputs)
    assert np.abs(np.asarray(quiet - hidden)).max() > 0.1  # dropout did something
    for changes in ({"scan_layers": False}, {"remat": "full"}, {"remat": "dots"}):
        other_grads, other = run(**changes)
        np.testing.assert_allclose(other, hidden, rtol=1e-5, atol=1e-5)
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(other_grads)
        ):
            if "['key']['bias']" in jax.tree_util.keystr(path):  # zero but for rounding
                continue
            scale = max(float(jnp.linalg.norm(a)), 1e-2)
            assert float(jnp.linalg.norm(a - b)) < 1e-5 * scale


@pytest.mark.parametrize("block", ["bert", "modern"])
def test_layers_run_in_order_each_with_its_own_parameters(block):
    """Swapping the parameters of two layers changes the result."""
    base = tiny_config(block, num_hidden_layers=2)
    ids = jnp.arange(5, 17)[None]
    inputs = Inputs(ids, padding_mask(jnp.ones_like(ids)))
    model = Backbone(base)
    params = model.init(jax.random.key(0), inputs)["params"]
    apply = quick_jit(lambda p: model.apply({"params": p}, inputs))
    swapped = dict(params)
    swapped["encoder"] = {
        **params["encoder"],
        "layer": jax.tree.map(lambda x: x[::-1], params["encoder"]["layer"]),
    }
    assert float(jnp.abs(apply(params) - apply(swapped)).max()) > 0.1


def test_bfloat16_computes_near_float32():
    base = tiny_config("bert", initializer_range=0.1)
    ids = jnp.arange(5, 17)[None]
    inputs = Inputs(ids, padding_mask(jnp.ones_like(ids)))
    params = Backbone(base).init(jax.random.key(0), inputs)["params"]
    full = quick_jit(lambda p: Backbone(base).apply({"params": p}, inputs))(params)
    half = quick_jit(
        lambda p: Backbone(base.replace(dtype="bfloat16")).apply({"params": p}, inputs)
    )
    out = half(params)
    assert out.dtype == jnp.bfloat16
    error = float(jnp.linalg.norm(out - full) / jnp.linalg.norm(full))
    assert 1e-4 < error < 0.03


def _fused(monkeypatch):
    """cuDNN's attention computed by XLA's implementation of the same function; what it was told."""
    told = []
    original = jax.nn.dot_product_attention

    def stand_in(*args, implementation, **kwargs):
        assert implementation == "cudnn"
        if (mask := kwargs.get("mask")) is not None:  # not broadcast over queries there
            assert mask.shape[-2:] == (args[0].shape[1], args[1].shape[1])
        told.append(sorted(kwargs))
        return original(*args, implementation="xla", **kwargs)

    monkeypatch.setattr(jax.nn, "dot_product_attention", stand_in)
    return told


@pytest.mark.parametrize("block", representative(("bert", "modern"), "bert"))
def test_fused_attention_reads_lengths_and_gives_the_same_hidden_states(monkeypatch, block):
    told = _fused(monkeypatch)
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
    assert told[-1] == ["mask"]
    by_lengths = fused.apply(params, plain.replace(lengths=lengths))
    assert told[-1] == ["key_value_seq_lengths"]
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


@pytest.mark.parametrize("block", representative(("bert", "modern"), "bert"))
def test_split_layers_join_to_the_same_network_and_leave_no_copy_of_a_stack(block):
    config = tiny_config(block=block, num_hidden_layers=3, scan_layers=False)
    ids = jnp.ones((1, 8), jnp.int32)
    inputs = Inputs(ids, padding_mask(ids))
    network = Backbone(config)
    params = network.init(jax.random.key(0), inputs)
    split = split_layers(params)
    assert sum(x.size for x in jax.tree.leaves(split)) == sum(
        x.size for x in jax.tree.leaves(params)
    )
    jax.tree.map(np.testing.assert_array_equal, join_layers(split), params)

    compiled = jax.jit(lambda p: network.apply(join_layers(p), inputs)).lower(split).compile()
    np.testing.assert_allclose(compiled(split), network.apply(params, inputs), atol=1e-5)
    wide = config.intermediate_size * (2 if block == "modern" else 1)
    assert f"f32[3,{config.hidden_size},{wide}]" not in compiled.as_text()
