"""A tiny generator-discriminator pair, rows for it, and a quick way to compile."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.config_file import load_config
from electra_jax.objectives.base import RunShape
from electra_jax.objectives.corruption import Masking
from electra_jax.objectives.electra import ElectraObjective, ElectraSettings
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.row_structure import SpecialIds
from electra_jax.objectives.table import build_objective

# The graphs here are tiny: compiling them is all that a test waits for.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

SPECIAL = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)
FIRST_WORD = 5
VOCAB = 97  # not a square


def tiny_config(block: str = "bert", **changes: Any) -> ElectraConfig:
    """Two layers × 16 in either block style, dropout on; `bert` has an embedding projection."""
    shape: dict[str, Any] = {
        "block": block,
        "vocab_size": VOCAB,
        "embedding_size": 8 if block == "bert" else 16,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 64,
        # Large weights, so that every path shows in the logits.
        "initializer_range": 0.3,
    }
    return ElectraConfig(**{**shape, **changes})


def tiny_objective(
    block: str = "bert",
    *,
    seq_len: int = 32,
    max_segments: int = 1,
    sharing: str = "embeddings",
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> ElectraObjective:
    """The pair's objective; `model` changes both shapes, `settings` are `ElectraSettings`."""
    shape = tiny_config(block, **(model or {}))
    if block == "bert":
        generator = shape.replace(hidden_size=12, num_attention_heads=1, intermediate_size=16)
    else:
        generator = shape.replace(num_hidden_layers=1)
    if sharing == "none":
        generator = generator.replace(embedding_size=generator.hidden_size)
    if sharing == "all":
        generator = shape
    corruption = ElectraSettings(**settings)
    masking = Masking(corruption, SPECIAL, seq_len, max_segments)
    return ElectraObjective(PairConfig(shape, generator, sharing), corruption, masking)


def configured_objective(
    name: str, *overrides: str, seq_len: int = 16, max_segments: int = 1
) -> Any:
    """Any objective of the table, over a tiny pair with dropout; `overrides` such as
    `model.sharing=none`."""
    shape = {
        "block": "bert", "embedding_size": 8, "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": seq_len,
        "hidden_dropout_prob": 0.1, "initializer_range": 0.2, "generator.hidden_size": 12,
        "generator.num_attention_heads": 1, "generator.intermediate_size": 16,
    }  # fmt: skip
    given = [f"--config.model.{key}={value}" for key, value in shape.items()]
    given += [f"--config.objective.name={name}", *(f"--config.{x}" for x in overrides)]
    config, _ = load_config(["--config=configs/pretrain.py:tiny", *given])
    counts = np.arange(VOCAB)
    run = RunShape(config, "rows", VOCAB, SPECIAL, seq_len, max_segments, 100, 64, lambda: counts)
    return build_objective(run)


def piece(rng: np.random.Generator, length: int, vocab: int = VOCAB) -> list[int]:
    """[CLS] words [SEP], `length` ≥ 3 tokens in all."""
    words = rng.integers(FIRST_WORD, vocab, length - 2)
    return [SPECIAL.cls, *words.tolist(), SPECIAL.sep]


def rows_of(lengths: list[list[int]], seq_len: int, seed: int = 0, vocab: int = VOCAB) -> Any:
    """int32 [rows, seq_len]: each row packs pieces of the given lengths, padded on the right."""
    rng = np.random.default_rng(seed)
    table = np.full((len(lengths), seq_len), SPECIAL.pad, np.int32)
    for row, sizes in zip(table, lengths, strict=True):
        ids = [token for size in sizes for token in piece(rng, size, vocab)]
        row[: len(ids)] = ids
    return jnp.asarray(table)


def draws_of(rows: int, step: int = 0, seed: int = 0, first: int = 0) -> Draws:
    """The draws of `rows` rows from global row `first` on."""
    numbers = first + jnp.arange(rows, dtype=jnp.int32)
    return Draws(jax.random.key(seed), jnp.int32(step), numbers)


# The parts of an objective, compiled once for each objective and shape.
init_params = quick_jit(lambda objective, key: objective.init(key)[0], static_argnums=0)
mask_rows = quick_jit(
    lambda objective, ids, draws: objective.masking.mask({"input_ids": ids}, draws),
    static_argnums=0,
)
sample_tokens = quick_jit(
    lambda objective, logits, rows, draws, train=True: objective.sample(logits, rows, draws, train),
    static_argnums=(0, 4),
)
corrupt_rows = quick_jit(
    lambda objective, rows, sampled: objective.corrupt(rows, sampled), static_argnums=0
)
batch_sums = quick_jit(
    lambda objective, params, batch, draws, train: objective.loss(params, {}, batch, draws, train),
    static_argnums=(0, 4),
)


@functools.partial(quick_jit, static_argnums=(0, 4))
def forward(
    objective: ElectraObjective, params: Any, ids: jax.Array, draws: Draws, train: bool = True
) -> dict[str, Any]:
    """Every intermediate value of the objective by name, besides its sums."""
    batch = {"input_ids": ids}
    rows = objective.masking.mask(batch, draws)

    def apply(method: str, stream: str, *args: Any) -> jax.Array:
        noise = draws.noise(stream) if train else None
        return objective.model.apply({"params": params}, *args, noise, method=method)

    generator_logits = apply(
        "generator_logits", "generator_dropout", rows.masked_inputs, rows.selection.positions
    )
    sampled = objective.sample(generator_logits, rows, draws, train)
    inputs, labels = objective.corrupt(rows, sampled)
    discriminator_logits = apply("discriminator_logits", "discriminator_dropout", inputs)
    terms, metrics = objective.loss(params, {}, batch, draws, train)
    return {
        "rows": rows,
        "generator_logits": generator_logits,
        "sampled": sampled,
        "corrupted": inputs.input_ids,
        "labels": labels,
        "discriminator_logits": discriminator_logits,
        "sums": {**terms, **metrics},
    }


def losses(objective: ElectraObjective, sums: Any) -> dict[str, float]:
    """The objective's summary of sums fetched from the device."""
    return objective.summarize(jax.device_get(sums))
