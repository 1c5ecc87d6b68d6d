"""Hugging Face's fine-tuning heads against their formulas in NumPy, on random weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interop import networks
from interop.networks import CONFIG

from electra_jax.modeling.dropout import dropout_rng_from_key
from electra_jax.modeling.heads.huggingface import HEADS, Encoder, FineTuned

MODERN = CONFIG.replace(block="modern", embedding_size=32, layer_norm_eps=1e-5)
LABELS = 2  # what `networks.random_params` makes


def _gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def _dense(x, p):
    return x @ p["kernel"] + p.get("bias", 0)


def _bert(kind, hidden, p):
    if kind == "sequence_classification":
        return _dense(
            _gelu(_dense(hidden[:, 0], p["classifier"]["dense"])), p["classifier"]["out_proj"]
        )
    if kind == "token_classification":
        return _dense(hidden, p["classifier"])
    if kind == "question_answering":
        return _dense(hidden, p["qa_outputs"])
    pooled = _gelu(_dense(hidden[:, 0], p["sequence_summary"]["summary"]))
    return _dense(pooled, p["classifier"])[:, 0]


def _modern(kind, hidden, p):
    if kind in ("sequence_classification", "multiple_choice"):
        hidden = hidden[:, 0]
    x = _gelu(_dense(hidden, p["head"]["dense"]))
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p["head"]["LayerNorm"]["scale"]
    logits = _dense(x, p["classifier"])
    return logits[:, 0] if kind == "multiple_choice" else logits


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize(("config", "formula"), [(CONFIG, _bert), (MODERN, _modern)])
def test_a_head_is_its_formula_of_the_hidden_states(config, formula, kind):
    params = networks.random_params(config, kind)
    inputs = networks.inputs_of(config, networks.random_batch(config))
    encoder = {"params": {"electra": params["electra"]}}
    hidden = np.asarray(Encoder(config).apply(encoder, inputs), np.float64)
    found = FineTuned(config, kind, LABELS).apply({"params": params}, inputs)
    expected = formula(kind, hidden, params)
    assert found.dtype == jnp.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_head_s_dropout_is_its_own_rate():
    config = CONFIG.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    params = {"params": networks.random_params(config, "token_classification")}
    inputs = networks.inputs_of(config, networks.random_batch(config))
    rng = dropout_rng_from_key(jax.random.key(0), jnp.arange(3))
    still, none, some = (
        FineTuned(config, "token_classification", LABELS, rate).apply(params, inputs, *given)
        for rate, given in ((0.5, ()), (0.0, (rng,)), (0.5, (rng,)))
    )
    np.testing.assert_array_equal(still, none)
    assert float(jnp.abs(some - still).max()) > 0.1


def test_an_unknown_head_is_an_error_that_names_the_known():
    inputs = networks.inputs_of(CONFIG, networks.random_batch(CONFIG))
    with pytest.raises(ValueError, match=r"'ranking'.*multiple_choice"):
        jax.eval_shape(FineTuned(CONFIG, "ranking").init, jax.random.key(0), inputs)
