"""What a run's networks start from: the parts of loaded models, whether they fit, and their
embeddings in the run's vocabulary."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.loaded import LoadedModel
from electra_jax.interop.mapping.names import DISCRIMINATOR, ENCODER, GENERATOR, PAIR, REFERENCE
from electra_jax.interop.mapping.pair import split_pair
from electra_jax.interop.mapping.vocabulary import change_vocabulary, token_map
from electra_jax.modeling.trees import Tree
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

# What must agree for weights to fit, and for the network to compute the same with them.
SHAPE = (
    "block",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
    "layer_norm_eps",
)
_MODERN_ONLY = ("rope_theta",)
_HEAD = ("masked_lm_act", "tie_word_embeddings")  # of a masked-LM head
_BERT_ONLY = ("max_position_embeddings", "type_vocab_size")
D_HEAD, G_HEAD = "discriminator_predictions", "generator_predictions"


@dataclasses.dataclass(frozen=True)
class Start:
    """One network to start from: its shape, the tree under `electra`, and its head where it
    fits.
    """

    config: ElectraConfig
    encoder: Tree
    head: Tree | None
    loaded: LoadedModel


class Tokens(NamedTuple):
    """The run's tokenizer folder, and whether embeddings of another vocabulary are mapped to it."""

    folder: str | os.PathLike[str] | None
    map_vocabulary: bool


def adopt(config: ElectraConfig, source: ElectraConfig) -> ElectraConfig:
    """`config` with the shape of `source`."""
    extra = _MODERN_ONLY if source.block == "modern" else ()
    return config.replace(**{f: getattr(source, f) for f in (*SHAPE, *_HEAD, *extra)})


def starts_of(
    init: str | os.PathLike[str] | None, init_generator: str | os.PathLike[str] | None
) -> tuple[Start | None, Start | None]:
    """What the discriminator and the generator start from."""
    d = g = None
    if init is not None:
        loaded = load_model_folder(init)
        if loaded.kind == GENERATOR and loaded.settings.get("model_type") != "bert":
            raise UserError(
                f"init={init}: holds a generator (a masked-LM network), not a discriminator: "
                "give it as init_generator, or name the discriminator's folder; to start the "
                "discriminator from this network's encoder on purpose, convert it with "
                "--encoder_only first"
            )
        d = start_of(loaded, DISCRIMINATOR)
        if loaded.kind == PAIR:
            assert isinstance(loaded.config, PairConfig)
            part = split_pair(loaded.config, loaded.params)[GENERATOR]
            if part is not None:
                g = Start(part[0], part[1]["electra"], part[1][G_HEAD], loaded)
    if init_generator is not None:
        loaded = load_model_folder(init_generator)
        if loaded.kind == DISCRIMINATOR:
            raise UserError(
                f"init_generator={init_generator}: holds a discriminator, not a generator: give it "
                "as init, or name the generator's folder"
            )
        g = start_of(loaded, GENERATOR)
    return d, g


def start_of(loaded: LoadedModel, role: str) -> Start:
    """The part of a loaded model that can start `role` ("discriminator" or "generator")."""
    if loaded.kind == PAIR:
        assert isinstance(loaded.config, PairConfig)
        part = split_pair(loaded.config, loaded.params)[role]
        if part is None:
            raise UserError(
                f"{loaded.source}: its generator is uniform, there is none to start from"
            )
        config, tree = part
    else:
        assert isinstance(loaded.config, ElectraConfig)
        config, tree = loaded.config, loaded.params
        if loaded.kind not in (DISCRIMINATOR, GENERATOR, ENCODER, REFERENCE):
            raise UserError(
                f"{loaded.source}: a fine-tuned {loaded.kind} network cannot start pretraining: "
                "convert it with --encoder_only first"
            )
    head = tree.get(D_HEAD if role == DISCRIMINATOR else G_HEAD)
    return Start(config, tree["electra"], head, loaded)


def check_shape(start: Start, config: ElectraConfig, role: str) -> None:
    """Refuses a start of another shape than the run's network, naming every difference."""
    fields = [*SHAPE, *_MODERN_ONLY] if start.config.block == "modern" else list(SHAPE)
    if start.config.block == "modern":
        fields = [f for f in fields if f not in _BERT_ONLY]
    if start.head is not None and role != DISCRIMINATOR:
        fields += _HEAD
    differing = [
        f"{field} is {getattr(start.config, field)} there and {getattr(config, field)} in this run"
        for field in fields
        if getattr(start.config, field) != getattr(config, field)
    ]
    if differing:
        raise UserError(
            f"{start.loaded.source}: cannot start the {role} of this run: {'; '.join(differing)}"
        )


def fit(
    start: Start,
    fresh_encoder: Mapping[str, Any],
    fresh_head: Mapping[str, Any] | None,
    tokens: Tokens,
    lines: list[str],
) -> tuple[Tree, Tree | None]:
    """(encoder, head or None) of a start in the run's vocabulary."""
    rows = vocabulary_rows(start, fresh_encoder, tokens, lines)
    if rows is None:
        return start.encoder, start.head
    old: Tree = {"electra": start.encoder}
    new: Tree = {"electra": fresh_encoder}
    if start.head is not None:
        old["head"], new["head"] = start.head, fresh_head
    changed, report = change_vocabulary(old, new, rows)
    if str(report) not in lines:
        lines.append(str(report))
    return changed["electra"], changed.get("head")


def vocabulary_rows(
    start: Start,
    fresh_encoder: Mapping[str, Any],
    tokens: Tokens,
    lines: list[str],
) -> np.ndarray | None:
    """`token_map` from the start's vocabulary to the run's; None where they are the same."""
    source = start.loaded
    size = np.shape(fresh_encoder["embeddings"]["word_embeddings"])[0]
    if tokens.folder is None or source.tokenizer_folder is None:
        if size != start.config.vocab_size:
            raise UserError(
                f"{source.source}: its vocabulary has {start.config.vocab_size} tokens, this run's "
                f"{size}, and without a tokenizer beside it, the shared ones are not known"
            )
        note = f"{source.source}: no tokenizer beside it, its ids are taken to be this run's"
        if tokens.folder is not None and note not in lines:
            lines.append(note)
        return None
    old, new = load_tokenizer(source.tokenizer_folder), load_tokenizer(tokens.folder)
    old_tokens, new_tokens = (t.ids_to_tokens(range(t.vocab_size)) for t in (old, new))
    same = old_tokens == new_tokens
    note = f"{source.source}: same vocabulary, but its tokenizer splits text differently"
    if same and old.hash != new.hash and note not in lines:
        lines.append(note)
    if same and size == start.config.vocab_size:
        return None
    if not same and not tokens.map_vocabulary:
        raise UserError(
            f"{source.source}: its vocabulary ({len(old_tokens)} tokens) is not this run's "
            f"({len(new_tokens)}): prepare the rows with its tokenizer, or keep the embeddings of "
            "shared tokens with --config.init_vocabulary=map"
        )
    special = (dataclasses.asdict(t.special_ids) for t in (old, new))
    rows = np.arange(len(new_tokens)) if same else token_map(old_tokens, new_tokens, *special)
    # A table larger than its vocabulary has rows without a token: they start fresh.
    return np.concatenate([rows, np.full(size - len(rows), -1, np.int64)])
