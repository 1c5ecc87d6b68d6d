"""LoRA and BitFit: what they train, and that they start as their base."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finetuning.tiny_task import CONFIG

from electra_jax.errors import UserError
from electra_jax.finetuning.network import Network
from electra_jax.modeling.peft.base import Full, count, is_head
from electra_jax.modeling.peft.bitfit import BitFit
from electra_jax.modeling.peft.lora import LoRA
from electra_jax.modeling.peft.table import make_adaptation
from electra_jax.modeling.trees import flatten, unflatten

NETWORK = Network(CONFIG, "classification", 3)
ATTENTION = "self/(query|value)/kernel"
SETTINGS = {
    "method": "full",
    "rank": 4,
    "alpha": 8.0,
    "targets": ATTENTION,
    "embedding_rank": 0,
}
WORDS = "electra/embeddings/word_embeddings"


@pytest.fixture(scope="module")
def params():
    return jax.jit(NETWORK.init)(jax.random.key(1))


@pytest.fixture(scope="module")
def batch():
    ids = np.random.default_rng(0).integers(5, 90, (4, 16)).astype(np.int32)
    return {
        "input_ids": jnp.asarray(ids),
        "token_type_ids": jnp.zeros_like(ids),
        "lengths": jnp.asarray([16, 9, 3, 1], jnp.int32),
    }


@pytest.mark.parametrize(
    "adaptation",
    [Full(), BitFit(), LoRA(4, embedding_rank=0), LoRA()],
    ids=["full", "bitfit", "lora of kernels", "lora"],
)
def test_the_network_starts_as_its_base(adaptation, params, batch):
    trained, frozen = adaptation.split(params, jax.random.key(2))
    merged = adaptation.merge(trained, frozen)
    before, after = flatten(params), flatten(merged)
    assert before.keys() == after.keys()
    run = jax.jit(NETWORK)
    expected = run(params, batch)["logits"]
    np.testing.assert_array_equal(run(merged, batch)["logits"], expected)


def test_bitfit_trains_biases_and_the_head(params):
    trained, frozen = BitFit().split(params, jax.random.key(0))
    encoder = [n for n in trained if n.startswith("electra/")]
    assert encoder and all(n.endswith("/bias") for n in encoder)
    assert {n for n in trained if not n.startswith("electra/")} == {
        n for n in flatten(params) if n.startswith("classifier/")
    }
    assert not any(n.endswith("/bias") for n in frozen)


def test_lora_is_its_merged_network(params, batch):
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
    run = jax.jit(NETWORK)
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


def test_gradients_reach_only_what_is_trained(params, batch):
    adaptation = LoRA(4)
    trained, frozen = adaptation.split(params, jax.random.key(0))

    def loss(trained):
        return jnp.sum(NETWORK(adaptation.merge(trained, frozen), batch)["logits"] ** 2)

    gradient = jax.jit(jax.grad(loss))(trained)
    assert gradient.keys() == trained.keys()
    moving = {n for n, g in gradient.items() if n.startswith("lora") and jnp.abs(g).max() > 0}
    assert moving == {
        n for n in trained if n.endswith("/b") != (WORDS in n) and n.startswith("lora")
    }


def test_lora_moves_only_the_embeddings_of_words_that_occur(params, batch):
    adaptation = LoRA(4, 8.0, ATTENTION, 2)
    trained, frozen = adaptation.split(params, jax.random.key(0))

    def loss(trained):
        return jnp.sum(NETWORK(adaptation.merge(trained, frozen), batch)["logits"] ** 2)

    gradient = jax.jit(jax.grad(loss))(trained)[f"lora/{WORDS}/a"]
    inside = np.arange(16)[None] < np.asarray(batch["lengths"])[:, None]
    words = np.unique(np.asarray(batch["input_ids"])[inside])
    np.testing.assert_array_equal(np.flatnonzero(np.abs(gradient).max(-1)), words)
    moved = {**trained, f"lora/{WORDS}/a": gradient}
    table = flatten(adaptation.merge(moved, frozen))[WORDS]
    update = 2.0 * gradient @ trained[f"lora/{WORDS}/b"]
    np.testing.assert_allclose(table - frozen[WORDS], update, rtol=0, atol=1e-6)
    assert np.linalg.matrix_rank(update) == 2


def test_counts_with_and_without_the_head(params):
    trained, frozen = LoRA(4, targets=ATTENTION, embedding_rank=0).split(params, jax.random.key(0))
    assert count(trained, head=False) == 2 * 2 * (32 * 4 + 4 * 32)
    assert count(trained) == count(trained, head=False) + 32 * 32 + 32 + 32 * 3 + 3
    assert count(frozen) == count(params, head=False)
    words, _ = LoRA(4, targets=ATTENTION, embedding_rank=2).split(params, jax.random.key(0))
    size, width = CONFIG.vocab_size, CONFIG.embedding_size
    assert count(words) == count(trained) + 2 * (size + width)


def test_settings_choose_the_method(params):
    assert isinstance(make_adaptation(SETTINGS), Full)
    assert make_adaptation({**SETTINGS, "method": "lora"}) == LoRA(4, 8.0, ATTENTION, 0)
    with pytest.raises(UserError, match="adalora"):
        make_adaptation({**SETTINGS, "method": "adalora"})
    with pytest.raises(UserError, match="rank=0"):
        make_adaptation({**SETTINGS, "method": "lora", "rank": 0})
    with pytest.raises(UserError, match="embedding_rank=-1"):
        make_adaptation({**SETTINGS, "method": "lora", "embedding_rank": -1})
    nothing = make_adaptation({**SETTINGS, "method": "lora", "targets": "no_such"})
    with pytest.raises(UserError, match="no_such"):
        nothing.split(params, jax.random.key(0))
