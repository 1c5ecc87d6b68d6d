"""Both networks against their equations, written again in float64 NumPy, on random weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objectives.tiny import SPECIAL, quick_jit, rows_of, tiny_config, tiny_objective

from electra_jax.modeling.electra import DiscriminatorHead, Inputs, first_states
from electra_jax.objectives.row_structure import row_structure

erf = np.vectorize(math.erf)


def gelu(x):
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def norm(x, p, epsilon):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
    return x * p["scale"] + p.get("bias", 0)


def dense(x, p):
    return x @ p["kernel"] + p.get("bias", 0)


def attention(query, key, value, sees, heads, rotate=None):
    """One row: [length, width] each; `sees` bool [length, length]."""
    mixed = np.zeros_like(query)
    depth = query.shape[-1] // heads
    for h in range(heads):
        part = slice(h * depth, (h + 1) * depth)
        q, k = query[:, part], key[:, part]
        if rotate is not None:
            q, k = rotate(q), rotate(k)
        scores = np.where(sees, q @ k.T / math.sqrt(depth), -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed[:, part] = weights / weights.sum(-1, keepdims=True) @ value[:, part]
    return mixed


def layers_of(tree, count):
    return [jax.tree.map(lambda x, i=i: x[i], tree) for i in range(count)]


def bert(config, p, embeddings, ids, types, positions, sees):
    """Post-LayerNorm transformer of one row."""
    x = embeddings["word_embeddings"][ids] + embeddings["position_embeddings"][positions]
    x = norm(x + embeddings["token_type_embeddings"][types], embeddings["LayerNorm"], 1e-12)
    x = dense(x, p["embeddings_project"])
    for layer in layers_of(p["encoder"]["layer"], config.num_hidden_layers):
        own, out = layer["attention"]["self"], layer["attention"]["output"]
        qkv = [dense(x, own[n]) for n in ("query", "key", "value")]
        mixed = attention(*qkv, sees, config.num_attention_heads)
        x = norm(x + dense(mixed, out["dense"]), out["LayerNorm"], 1e-12)
        wide = gelu(dense(x, layer["intermediate"]["dense"]))
        x = norm(x + dense(wide, layer["output"]["dense"]), layer["output"]["LayerNorm"], 1e-12)
    return x


def modern(config, p, embeddings, ids, types, positions, sees):
    """Pre-norm transformer with rotary positions and GeGLU, of one row."""
    half = config.head_size // 2
    frequency = config.rope_theta ** (-np.arange(half) / half)
    phase = np.exp(1j * positions[:, None] * frequency)

    def rotate(x):
        z = (x[:, :half] + 1j * x[:, half:]) * phase
        return np.concatenate([z.real, z.imag], -1)

    epsilon = config.layer_norm_eps
    x = norm(embeddings["word_embeddings"][ids], embeddings["LayerNorm"], epsilon)
    for i, layer in enumerate(layers_of(p["encoder"]["layer"], config.num_hidden_layers)):
        y = x
        if i > 0:
            y = norm(x, {"scale": p["encoder"]["attention_norm"]["scale"][i - 1]}, epsilon)
        qkv = np.split(dense(y, layer["attention"]["Wqkv"]), 3, -1)
        mixed = attention(*qkv, sees, config.num_attention_heads, rotate)
        x = x + dense(mixed, layer["attention"]["Wo"])
        value, gate = np.split(
            dense(norm(x, layer["mlp_norm"], epsilon), layer["mlp"]["Wi"]), 2, -1
        )
        x = x + dense(gelu(value) * gate, layer["mlp"]["Wo"])
    return norm(x, p["encoder"]["final_norm"], epsilon)


def heads(block, p, hidden_generator, hidden_discriminator, table, epsilon):
    """Masked-LM logits and the logit that each token was replaced."""
    head = p["generator_predictions"]
    x = norm(gelu(dense(hidden_generator, head["dense"])), head["LayerNorm"], epsilon)
    masked_lm = x @ table.T + head["output_bias"]
    head = p["discriminator_predictions"]
    x = gelu(dense(hidden_discriminator, head["dense"]))
    if block == "modern":
        x = norm(x, head["LayerNorm"], epsilon)
    return masked_lm, dense(x, head["dense_1"])[:, 0]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("block", ["bert", "modern"])
def test_both_networks_follow_their_equations(block, packed):
    lengths = [[9, 3], [5, 4, 3]] if packed else [[12], [8]]
    objective = tiny_objective(block, seq_len=14, max_segments=3 if packed else 1)
    ids = np.array(rows_of(lengths, 14))
    ids[:, 4] = SPECIAL.sep  # a second sentence in the first piece
    rng = np.random.default_rng(0)
    shapes, _ = jax.eval_shape(objective.init, jax.random.key(0))
    params = jax.tree.map(
        lambda s: rng.normal(0, 0.4 if len(s.shape) > 1 else 0.7, s.shape).astype(np.float32),
        shapes,
    )
    structure = row_structure(jnp.asarray(ids), SPECIAL, packed)
    every = jnp.broadcast_to(jnp.arange(14), ids.shape)
    ours = quick_jit(lambda p: objective.model.apply({"params": p}, structure.inputs, every))(
        params
    )

    p = jax.tree.map(lambda x: x.astype(np.float64), params)
    network = bert if block == "bert" else modern
    pair, shared = objective.config, p["electra"]["embeddings"]
    sees = np.broadcast_to(np.asarray(structure.inputs.mask), (2, 1, 14, 14))[:, 0]
    types = np.asarray(structure.inputs.token_type_ids)
    assert types.max() == 1
    positions = every if structure.inputs.positions is None else structure.inputs.positions
    for row in range(2):
        where = (
            ids[row],
            types[row],
            np.asarray(positions)[row],
            sees[row] | (ids[row] == 0)[:, None],
        )
        masked_lm, replaced = heads(
            block,
            p,
            network(pair.generator, p["generator"], shared, *where),
            network(pair.discriminator, p["electra"], shared, *where),
            shared["word_embeddings"],
            pair.discriminator.layer_norm_eps,
        )
        real = ids[row] != SPECIAL.pad
        np.testing.assert_allclose(ours[0][row][real], masked_lm[real], rtol=1e-4, atol=2e-4)
        np.testing.assert_allclose(ours[1][row][real], replaced[real], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("block", ["bert", "modern"])
def test_deberta_s_head_reads_each_token_beside_its_own_segment_s_cls(block):
    """LayerNorm(h + h[CLS]) → dense → GELU → linear."""
    config = tiny_config(block, discriminator_head="deberta")
    ids = rows_of([[6, 5], [9]], 14)
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(2, 14, 16)).astype(np.float32)
    inputs = row_structure(ids, SPECIAL, True).inputs
    module = DiscriminatorHead(config)
    params = module.init(jax.random.key(0), hidden, inputs)["params"]
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), params)
    starts = [[0] * 6 + [6] * 5 + [11, 12, 13], [0] * 9 + [9, 10, 11, 12, 13]]
    first = np.stack([row[start] for row, start in zip(hidden, starts)])
    np.testing.assert_array_equal(first_states(hidden, inputs), first)
    assert first_states(hidden, Inputs(ids, inputs.mask)).shape == (2, 1, 16)
    x = norm(np.float64(hidden + first), params["LayerNorm"], config.layer_norm_eps)
    expected = dense(gelu(dense(x, params["dense"])), params["dense_1"])[..., 0]
    found = module.apply({"params": params}, hidden, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
