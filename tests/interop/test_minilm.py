"""A real trained BERT encoder: read, equal to `transformers`, and a start for both networks of
a pair.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config.model import named_size
from electra_jax.interop.convert import convert
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.warm_start import initial_config, initial_parameters
from electra_jax.modeling.electra import Electra, Inputs, padding_mask
from electra_jax.modeling.trees import flatten

TEXTS = ["The quick brown fox jumps over the lazy dog.", "ELECTRA", "a " * 40]


def test_hidden_states_equal_bert_model(minilm):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    loaded = load_model_folder(minilm)
    assert loaded.kind == "encoder" and loaded.config.num_attention_heads == 12
    assert all("position_ids" in n or n.startswith("pooler.") for n in loaded.ignored)
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    both = tokenizer(TEXTS, TEXTS[::-1], padding=True, return_tensors="np")
    assert set(np.unique(both["token_type_ids"])) == {0, 1}
    theirs = transformers.BertModel.from_pretrained(minilm).eval()
    with torch.no_grad():
        tensors = {name: torch.tensor(value) for name, value in both.items()}
        expected = theirs(**tensors).last_hidden_state.numpy()
    inputs = Inputs(
        both["input_ids"].astype(np.int32),
        padding_mask(jnp.asarray(both["attention_mask"])),
        both["token_type_ids"].astype(np.int32),
    )
    found = np.asarray(loaded.model.apply({"params": loaded.params}, inputs))
    real = both["attention_mask"] > 0
    np.testing.assert_allclose(found[real], expected[real], rtol=0, atol=1e-5)


def test_it_converts_to_an_electra_model_with_the_same_outputs(minilm, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    report = convert(minilm, tmp_path / "model", verify=True)
    assert report.networks[0].difference <= 1e-5
    assert load_model_folder(tmp_path / "model").settings["model_type"] == "electra"


def test_it_starts_both_networks_of_a_pair(minilm):
    pair = initial_config(minilm, minilm, named_size("small"))
    assert (pair.discriminator.hidden_size, pair.generator.hidden_size) == (384, 384)
    assert pair.sharing == "embeddings" and pair.generator.num_hidden_layers == 6
    inputs = Inputs(np.ones((1, 4), np.int32), jnp.ones((1, 1, 1, 4), bool))
    shapes = jax.eval_shape(Electra(pair).init, jax.random.key(0), inputs, np.ones((1, 2), int))
    fresh = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes["params"])
    params, lines, step = initial_parameters(minilm, minilm, pair, fresh)
    assert step is None and len(lines) == 2 and all("fresh head" in line for line in lines)
    source = load_model_folder(minilm).params["electra"]
    words = source["embeddings"]["word_embeddings"]
    assert np.array_equal(params["electra"]["embeddings"]["word_embeddings"], words)
    encoder = flatten(source["encoder"])
    for name in ("electra", "generator"):
        found = flatten(params[name]["encoder"])
        assert all(np.array_equal(found[path], encoder[path]) for path in encoder)
    assert flatten(params).keys() == flatten(fresh).keys()
