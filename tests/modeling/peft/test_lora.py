"""LoRA: its product, its gradients and the rows of words that it moves."""

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.modeling.peft.base import is_head
from electra_jax.modeling.peft.lora import LoRA
from electra_jax.modeling.trees import flatten, unflatten

ATTENTION = "self/(query|value)/kernel"
WORDS = "electra/embeddings/word_embeddings"


def test_lora_is_its_merged_network(network, params, batch):
    """Merged kernels and the two products side by side give the same logits to 1e-5."""
    adaptation = LoRA(4, 8.0, ATTENTION, 0)
    trained, frozen = adaptation.split(params, jax.random.key(0))
    key = jax.random.key(9)
    trained = {
        n: jax.random.normal(jax.random.fold_in(key, i), x.shape) if n.startswith("lora") else x
        for i, (n, x) in enumerate(sorted(trained.items()))
    }
    name = "electra/encoder/layer/attention/self/query/kernel"
    x = np.random.default_rng(1).normal(size=(5, 32)).astype(np.float32)
    merged = flatten(adaptation.merge(trained, frozen))
    a, b = trained[f"lora/{name}/a"], trained[f"lora/{name}/b"]
    for layer in range(2):
        side = x @ frozen[name][layer] + 2.0 * (x @ a[layer]) @ b[layer]
        np.testing.assert_allclose(x @ merged[name][layer], side, rtol=1e-5, atol=1e-4)
    run = jax.jit(network)
    moved = run(adaptation.merge(trained, frozen), batch)["logits"]
    # What a saved folder holds: the same product, taken outside of the network in float64.
    whole = {**frozen, **{n: x for n, x in trained.items() if is_head(n)}}
    for n in (n.removeprefix("lora/").removesuffix("/a") for n in trained if n.endswith("/a")):
        a, b = (np.asarray(trained[f"lora/{n}/{c}"], np.float64) for c in "ab")
        whole[n] = (np.asarray(frozen[n], np.float64) + 2.0 * a @ b).astype(np.float32)
    logits = run(unflatten(whole), batch)["logits"]
    scale = float(jnp.abs(logits).max())
    np.testing.assert_allclose(moved / scale, logits / scale, rtol=0, atol=1e-5)
    assert np.abs(moved - run(params, batch)["logits"]).max() > 1e-3


def test_gradients_reach_only_what_is_trained(network, params, batch):
    adaptation = LoRA(4)
    trained, frozen = adaptation.split(params, jax.random.key(0))

    def loss(trained):
        return jnp.sum(network(adaptation.merge(trained, frozen), batch)["logits"] ** 2)

    gradient = jax.jit(jax.grad(loss))(trained)
    assert gradient.keys() == trained.keys()
    moving = {n for n, g in gradient.items() if n.startswith("lora") and jnp.abs(g).max() > 0}
    assert moving == {
        n for n in trained if n.endswith("/b") != (WORDS in n) and n.startswith("lora")
    }


def test_lora_moves_only_the_embeddings_of_words_that_occur(network, params, batch):
    adaptation = LoRA(4, 8.0, ATTENTION, 2)
    trained, frozen = adaptation.split(params, jax.random.key(0))

    def loss(trained):
        return jnp.sum(network(adaptation.merge(trained, frozen), batch)["logits"] ** 2)

    gradient = jax.jit(jax.grad(loss))(trained)[f"lora/{WORDS}/a"]
    inside = np.arange(16)[None] < np.asarray(batch["lengths"])[:, None]
    words = np.unique(np.asarray(batch["input_ids"])[inside])
    np.testing.assert_array_equal(np.flatnonzero(np.abs(gradient).max(-1)), words)
    moved = {**trained, f"lora/{WORDS}/a": gradient}
    table = flatten(adaptation.merge(moved, frozen))[WORDS]
    update = 2.0 * gradient @ trained[f"lora/{WORDS}/b"]
    np.testing.assert_allclose(table - frozen[WORDS], update, rtol=0, atol=1e-6)
    assert np.linalg.matrix_rank(update) == 2
