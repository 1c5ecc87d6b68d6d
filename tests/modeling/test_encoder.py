"""The encoder: rotary positions, and one network however its layers are computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix import representative
from objectives.tiny import draws_of, quick_jit, tiny_config

from electra_jax.modeling.electra import Backbone, Inputs, padding_mask
from electra_jax.modeling.encoder import join_layers, split_layers


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
                rng = draws_of(2).noise("discriminator_dropout")
                hidden = model.apply({"params": params}, inputs, rng)
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
