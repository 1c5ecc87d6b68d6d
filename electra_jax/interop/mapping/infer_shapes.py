"""Configurations inferred from tensors: everything but the number of attention heads can be read
off shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.model import ElectraConfig, ElectricConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.mapping.names import (
    DISCRIMINATOR,
    ENCODER,
    GENERATOR,
    OWN_HEADS,
    REFERENCE,
)
from electra_jax.modeling.electra import Discriminator, Electra, Inputs, MaskedLM
from electra_jax.modeling.electric import Electric
from electra_jax.modeling.heads.huggingface import HEADS, SEQUENCE, TOKEN, Encoder, FineTuned
from electra_jax.modeling.trees import flatten

HEAD_WIDTH = 64


class _Names(NamedTuple):
    """A dialect's names of the tensors whose shapes determine a configuration."""

    word: str
    position: str
    token_type: str
    layer: str
    query_bias: str
    wide_bias: str


_BERT = {
    "tf1": _Names(
        "embeddings/word_embeddings",
        "embeddings/position_embeddings",
        "embeddings/token_type_embeddings",
        "encoder/layer_{i}/",
        "encoder/layer_0/attention/self/query/bias",
        "encoder/layer_0/intermediate/dense/bias",
    ),
    "huggingface": _Names(
        "embeddings.word_embeddings.weight",
        "embeddings.position_embeddings.weight",
        "embeddings.token_type_embeddings.weight",
        "encoder.layer.{i}.",
        "encoder.layer.0.attention.self.query.bias",
        "encoder.layer.0.intermediate.dense.bias",
    ),
}


def count_layers(names: Iterable[str], pattern: str) -> int:
    """The number of layers among names that begin with `pattern` ("…layer_{i}/…"); 0 where no name
    does.
    """
    expression = re.compile(re.escape(pattern).replace(re.escape("{i}"), r"(\d+)"))
    found = [int(match[1]) for name in names if (match := expression.match(name))]
    return max(found, default=-1) + 1


def _length(tensors: Mapping[str, np.ndarray], name: str, axis: int, where: str) -> int:
    if name not in tensors:
        raise UserError(f"{where}: no tensor {name}, so the network's shape is not known")
    shape = np.shape(tensors[name])
    if len(shape) <= axis:
        raise UserError(f"{where}: {name} has shape {list(shape)}, expected more dimensions")
    return int(shape[axis])


def heads(hidden_size: int, given: int | None, flag: str, notes: list[str], what: str) -> int:
    """The number of attention heads: `given`, else one for each 64 units of width, with a line in
    `notes`, since no shape depends on it.
    """
    if given is not None:
        if given < 1 or hidden_size % given:
            raise UserError(
                f"{flag}={given} does not divide the {what}'s hidden size {hidden_size}"
            )
        return given
    count = max(1, hidden_size // HEAD_WIDTH)
    if hidden_size % count:
        raise UserError(
            f"the {what}'s hidden size {hidden_size} is no multiple of {HEAD_WIDTH}, so its "
            f"number of attention heads cannot be guessed: give {flag}=N"
        )
    notes.append(
        f"{what}: no configuration names the number of attention heads; assuming {count} "
        f"({hidden_size} / {HEAD_WIDTH} wide), {flag} overrides"
    )
    return count


def infer_bert(
    tensors: Mapping[str, np.ndarray],
    dialect: str,
    *,
    where: str,
    encoder: str,
    embeddings: str | None = None,
) -> dict[str, Any]:
    """The fields of a `bert` network that follow from shapes, its names beginning with `encoder`
    (and `embeddings`).

    Vocabulary, widths, layers, feed-forward, positions, types; not heads, activation or dropout.
    """
    names = _BERT[dialect]
    embeddings = encoder if embeddings is None else embeddings
    layers = count_layers(tensors, encoder + names.layer)
    if not layers:
        raise UserError(f"{where}: no tensors named {encoder}{names.layer.format(i=0)}…")
    return {
        "vocab_size": _length(tensors, embeddings + names.word, 0, where),
        "embedding_size": _length(tensors, embeddings + names.word, 1, where),
        "hidden_size": _length(tensors, encoder + names.query_bias, 0, where),
        "num_hidden_layers": layers,
        "intermediate_size": _length(tensors, encoder + names.wide_bias, 0, where),
        "max_position_embeddings": _length(tensors, embeddings + names.position, 0, where),
        "type_vocab_size": _length(tensors, embeddings + names.token_type, 0, where),
    }


def infer_modern(
    tensors: Mapping[str, np.ndarray], *, where: str, prefix: str = "model."
) -> dict[str, Any]:
    """The fields of a ModernBERT network that follow from shapes (Hugging Face names)."""
    word = prefix + "embeddings.tok_embeddings.weight"
    width = _length(tensors, word, 1, where)
    return {
        "vocab_size": _length(tensors, word, 0, where),
        "embedding_size": width,
        "hidden_size": width,
        "num_hidden_layers": count_layers(tensors, prefix + "layers.{i}."),
        "intermediate_size": _length(tensors, prefix + "layers.0.mlp.Wo.weight", 1, where),
    }


def check_inferred(inferred: Mapping[str, Any], stated: Mapping[str, Any], where: str) -> None:
    """Raises `UserError` for a configuration that contradicts the shapes, naming both."""
    differing = [
        f"{field} is {stated[field]} in the configuration and {value} in the tensors"
        for field, value in inferred.items()
        if stated.get(field) is not None and stated[field] != value
    ]
    if differing:
        raise UserError(f"{where} contradicts the shapes: {'; '.join(differing)}")


def module_of(
    config: ElectraConfig | PairConfig,
    kind: str,
    num_labels: int | None = None,
    dropout_rate: float = 0.1,
) -> nn.Module:
    """The Linen module that computes a network of `kind` (names.py); `num_labels` for fine-tuning
    heads.

    "reference" (the reference's task heads) and "own_heads" give the encoder alone.
    """
    if isinstance(config, ElectricConfig):
        return Electric(config)
    if isinstance(config, PairConfig):
        return Electra(config)
    if kind == GENERATOR:
        return MaskedLM(config)
    if kind == DISCRIMINATOR:
        return Discriminator(config)
    if kind in (ENCODER, REFERENCE, OWN_HEADS):
        return Encoder(config)
    if kind not in HEADS:
        raise UserError(f"no network here is called {kind!r}")
    return FineTuned(config, kind, num_labels or 2, dropout_rate)


def expected_shapes(
    config: ElectraConfig | PairConfig, kind: str, num_labels: int | None = None
) -> dict[str, tuple[int, ...]]:
    """{path: shape} of the parameters of `module_of(config, kind, num_labels)`."""
    inputs = Inputs(jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 1, 1, 2), bool))
    arguments: list[Any] = [inputs]
    if isinstance(config, PairConfig) or kind == GENERATOR:
        arguments.append(jnp.zeros((1, 1), jnp.int32))
    module = module_of(config, kind, num_labels)
    variables = jax.eval_shape(module.init, jax.random.key(0), *arguments)
    return {path: leaf.shape for path, leaf in flatten(variables["params"]).items()}


def labels_of(kind: str, params: Mapping[str, Any]) -> int | None:
    """The number of labels of a classification head; None for other heads."""
    if kind not in (SEQUENCE, TOKEN):
        return None
    head = params["classifier"]
    return len(head["out_proj"]["bias"] if "out_proj" in head else head["bias"])
