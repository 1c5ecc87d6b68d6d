"""The table of names: every pair of equal shapes and every transpose matters to the logits."""

import itertools

import jax
import numpy as np
import pytest
from interop import networks

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.mapping import names
from electra_jax.interop.mapping.infer_shapes import expected_shapes, module_of
from electra_jax.interop.mapping.tensors import check_shapes, gather, scatter
from electra_jax.interop.mapping.tf1_networks import tf1_from_tree

# Every kernel is square and every vector as long as the others, so that shapes tell nothing apart.
SQUARE = ElectraConfig(
    vocab_size=12,
    embedding_size=8,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=8,
    max_position_embeddings=24,
)
MODERN = SQUARE.replace(block="modern", layer_norm_eps=1e-5, rope_theta=100.0)


def _logits(config, kind):
    """A compiled function from Hugging Face tensors (read through the table) to logits."""
    batch = networks.random_batch(config)
    arguments = [networks.inputs_of(config, batch)]
    if kind == "generator":
        arguments.append(networks.every_position(batch[0]))
    module = module_of(config, kind)
    apply = jax.jit(lambda params: module.apply({"params": params}, *arguments))
    rows = names.model_rows(config, kind)

    def of(tensors):
        params, used = gather(rows, tensors, "huggingface", "test")
        assert used == set(tensors)
        return np.asarray(apply(params))[batch[1] > 0]

    return of


def _tensors(config, kind):
    # Large enough for attention to be far from even, so that query and key matter.
    params = networks.random_params(config, kind, seed=3, kernel_scale=0.8)
    return scatter(names.model_rows(config, kind), params, "huggingface")


@pytest.mark.parametrize("kind", ["discriminator", "generator"])
@pytest.mark.parametrize("config", [SQUARE, MODERN], ids=["bert", "modern"])
def test_exchanging_two_tensors_of_one_shape_changes_the_logits(config, kind):
    tensors, logits = _tensors(config, kind), _logits(config, kind)
    right = logits(tensors)
    unnoticed = []
    for a, b in itertools.combinations(sorted(tensors), 2):
        if tensors[a].shape != tensors[b].shape:
            continue
        exchanged = logits({**tensors, a: tensors[b], b: tensors[a]})
        if np.abs(exchanged - right).max() < 1e-3:
            unnoticed.append((a, b))
    # A key bias shifts all scores of a query alike, and softmax does not see it.
    assert all(a.endswith("key.bias") and b.endswith("key.bias") for a, b in unnoticed)


@pytest.mark.parametrize("kind", ["discriminator", "generator"])
@pytest.mark.parametrize("config", [SQUARE, MODERN], ids=["bert", "modern"])
def test_dropping_a_transpose_changes_the_logits_or_the_shape(config, kind):
    tensors, logits = _tensors(config, kind), _logits(config, kind)
    right = logits(tensors)
    rows = [row for row in names.model_rows(config, kind) if row.transpose]
    kernels = [name for row in rows for name in row.names("huggingface")]
    assert len(kernels) == {"bert": 13, "modern": 9}[config.block] + (kind == "discriminator")
    for name in kernels:
        height, width = tensors[name].shape
        if height == width:
            changed = logits({**tensors, name: tensors[name].T.copy()})
            assert np.abs(changed - right).max() > 1e-3, name
        else:
            tree, _ = gather(
                names.model_rows(config, kind),
                {**tensors, **{n: v.T for n, v in tensors.items() if v.shape == (height, width)}},
                "huggingface",
                "test",
            )
            with pytest.raises(UserError, match="the network needs"):
                check_shapes(tree, expected_shapes(config, kind), "test")


def test_key_biases_stand_where_their_names_say():
    tensors = _tensors(SQUARE, "discriminator")
    params, _ = gather(names.model_rows(SQUARE, "discriminator"), tensors, "huggingface", "test")
    stacked = params["electra"]["encoder"]["layer"]["attention"]["self"]["key"]["bias"]
    tf1 = tf1_from_tree(SQUARE, params, kind="discriminator")
    for i in range(2):
        theirs = tensors[f"electra.encoder.layer.{i}.attention.self.key.bias"]
        assert np.array_equal(stacked[i], theirs)
        assert np.array_equal(tf1[f"electra/encoder/layer_{i}/attention/self/key/bias"], theirs)


@pytest.mark.parametrize("sharing", ["embeddings", "none", "all"])
@pytest.mark.parametrize("block", ["bert", "modern"])
def test_the_table_of_a_pair_covers_its_parameters_exactly(block, sharing):
    config = (SQUARE if block == "bert" else MODERN).replace(num_hidden_layers=3)
    generator = config if sharing == "all" else config.replace(num_hidden_layers=1)
    pair = PairConfig(config, generator, sharing)
    paths = [row.tree for row in names.pair_rows(pair)]
    assert len(paths) == len(set(paths))
    assert set(paths) == set(expected_shapes(pair, "pair"))


@pytest.mark.parametrize(("scheme", "kind"), names.HEADS)
def test_the_table_of_every_head_covers_its_parameters_exactly(scheme, kind):
    config = MODERN if scheme == "modernbert" else SQUARE.replace(hidden_size=16)
    rows = names.model_rows(config, kind, scheme)
    assert {row.tree for row in rows} == set(expected_shapes(config, kind, 3))
    written = [name for row in rows for name in row.names("huggingface")]
    assert len(written) == len(set(written))


def test_parameters_of_another_network_are_refused():
    params = networks.random_params(SQUARE, "generator")
    with pytest.raises(UserError, match=r"unexpected parameter.*output_bias.*missing parameter"):
        scatter(names.model_rows(SQUARE, "discriminator"), params, "huggingface")
