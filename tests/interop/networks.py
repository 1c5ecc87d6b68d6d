"""Small random networks, folders and inputs: large weights, padding, two segments."""

import jax.numpy as jnp
import numpy as np

from electra_jax.config.model import ElectraConfig
from electra_jax.interop.mapping.infer_shapes import expected_shapes
from electra_jax.interop.save import save_model_folder
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.modeling.trees import flatten, unflatten
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

CONFIG = ElectraConfig(
    vocab_size=60,
    embedding_size=16,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
)
SMALL = CONFIG.replace(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)


def random_params(config, kind, seed=0, kernel_scale=0.3):
    """Normal parameters of the standalone network: every bias and LayerNorm weight counts."""
    rng = np.random.default_rng(seed)
    return unflatten(
        {
            path: rng.normal(0.0, 1.0 if len(shape) == 1 else kernel_scale, shape).astype(
                np.float32
            )
            for path, shape in expected_shapes(config, kind).items()
        }
    )


def random_batch(config, seed=0, rows=3, length=20):
    """input_ids, attention_mask (rows padded on the right) and token_type_ids, int32 [rows,
    length].
    """
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, config.vocab_size, (rows, length)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[1, 13:] = 0
    mask[2, 5:] = 0
    types = np.zeros_like(ids)
    if config.block == "bert" and config.type_vocab_size > 1:
        types[:, 7:] = config.type_vocab_size - 1
        types[2, 3:] = 1
    return ids, mask, types


def inputs_of(config, batch):
    """What the Linen modules read."""
    ids, mask, types = batch
    return Inputs(ids, padding_mask(jnp.asarray(mask)), types if config.block == "bert" else None)


def every_position(ids):
    """Positions [rows, length] that ask a masked-LM head for all tokens."""
    return np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)


def saved(path, kind="discriminator", config=CONFIG, tokenizer=None, **extra):
    """The folder of a random network; `extra` fields stand in its config.json."""
    save_model_folder(path, kind, config, random_params(config, kind), tokenizer, extra)
    return path


def tokenizer_folder(folder, words):
    """A WordPiece tokenizer of these tokens."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    load_tokenizer(folder).save(folder)
    return folder


def equal(a, b):
    """Whether two trees are bit-identical."""
    x, y = flatten(a), flatten(b)
    return x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x)
