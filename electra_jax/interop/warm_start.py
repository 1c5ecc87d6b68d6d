"""Initial parameters of pretraining from other models: a released pair, a discriminator alone, BERT
weights, each with its own vocabulary.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, overload

import numpy as np

from electra_jax.config.model import ONE_WIDTH, ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.loaded import LoadedModel
from electra_jax.interop.mapping.names import DISCRIMINATOR, ENCODER, GENERATOR, PAIR, REFERENCE
from electra_jax.interop.mapping.pair import split_pair, with_deltas, with_sums
from electra_jax.interop.mapping.vocabulary import change_vocabulary, token_map
from electra_jax.modeling.trees import Tree, flatten
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
_D_HEAD, _G_HEAD = "discriminator_predictions", "generator_predictions"


@dataclasses.dataclass(frozen=True)
class _Start:
    """One network to start from: its shape, the tree under `electra`, and its head where it
    fits.
    """

    config: ElectraConfig
    encoder: Tree
    head: Tree | None
    loaded: LoadedModel


class _Tokens(NamedTuple):
    """The run's tokenizer folder, and whether embeddings of another vocabulary are mapped to it."""

    folder: str | os.PathLike[str] | None
    map_vocabulary: bool


@overload
def initial_config(
    init: str | os.PathLike[str] | None,
    init_generator: str | os.PathLike[str] | None,
    config: PairConfig,
) -> PairConfig: ...


@overload
def initial_config(
    init: str | os.PathLike[str] | None,
    init_generator: str | os.PathLike[str] | None,
    config: ElectraConfig,
) -> ElectraConfig: ...


def initial_config(
    init: str | os.PathLike[str] | None,
    init_generator: str | os.PathLike[str] | None,
    config: PairConfig | ElectraConfig,
) -> PairConfig | ElectraConfig:
    """`config` with the shapes of the networks that it starts from.

    Vocabulary size, dropout and how it is computed stay `config`'s; a network that starts fresh
    keeps its shape, except that a generator which shares embeddings takes their width. An
    `ElectraConfig` is that of a masked-LM run.
    """
    if isinstance(config, ElectraConfig):
        path = init or init_generator
        return config if path is None else _adopt(config, _masked_lm_start(path).config)
    d, g = _starts(init, init_generator)
    discriminator, generator = config.discriminator, config.generator
    if d is not None:
        discriminator = _adopt(discriminator, d.config)
    if generator is not None and config.sharing == "all":
        generator = discriminator
    elif generator is not None and g is not None:
        generator = _adopt(generator, g.config)
    elif generator is not None and config.sharing in ONE_WIDTH and generator.block == "bert":
        generator = generator.replace(
            embedding_size=discriminator.embedding_size,
            max_position_embeddings=discriminator.max_position_embeddings,
            type_vocab_size=discriminator.type_vocab_size,
        )
    return PairConfig(discriminator, generator, config.sharing)


def _masked_lm_start(path: str | os.PathLike[str]) -> _Start:
    """What a masked-LM run starts from: a masked-LM network, or any other's encoder."""
    loaded = load_model_folder(path)
    if loaded.kind == PAIR:
        raise UserError(
            f"init={path}: holds a pair, and this run trains one masked-LM network: name its "
            "generator's or its discriminator's folder"
        )
    return _start(loaded, GENERATOR)


def _adopt(config: ElectraConfig, source: ElectraConfig) -> ElectraConfig:
    """`config` with the shape of `source`."""
    extra = _MODERN_ONLY if source.block == "modern" else ()
    return config.replace(**{f: getattr(source, f) for f in (*SHAPE, *_HEAD, *extra)})


def initial_parameters(
    init: str | os.PathLike[str] | None,
    init_generator: str | os.PathLike[str] | None,
    config: PairConfig | ElectraConfig,
    fresh: Mapping[str, Any],
    tokenizer_folder: str | os.PathLike[str] | None = None,
    vocabulary: str = "map",
) -> tuple[Tree, list[str], int | None]:
    """Parameters to pretrain from: `fresh`, with every part that the given models hold replaced by
    theirs.

    `init` is a pair, a discriminator, or an encoder (ElectraModel, BertModel, BertForMaskedLM),
    which starts the discriminator with a fresh head; `init_generator` a masked-LM network or an
    encoder, which starts the generator. `config` and `fresh` are the run's (`Electra`'s, or
    `MaskedLM`'s with an `ElectraConfig`). `tokenizer_folder` is the run's: where a model's
    vocabulary differs, `vocabulary="map"` keeps the embeddings of shared tokens and leaves new ones
    as in `fresh`; "same" refuses.

    Returns the tree, a line of text for each network on where it comes from, and the global step of
    `init`. Raises
    `UserError` where shapes do not fit, or a generator is given as `init` (or the reverse).
    """
    lines: list[str] = []
    tokens = _Tokens(tokenizer_folder, vocabulary == "map")
    if isinstance(config, ElectraConfig):
        return _initial_masked_lm(init or init_generator, config, fresh, tokens, lines)
    d, g = _starts(init, init_generator)
    fresh = with_sums(config, fresh)
    tree: Tree = dict(fresh)
    if d is not None:
        if d.config.discriminator_head != config.discriminator.discriminator_head:
            d = dataclasses.replace(d, head=None)
        _check_shape(d, config.discriminator, "discriminator")
        encoder, head = _fit(d, fresh["electra"], fresh.get(_D_HEAD), tokens, lines)
        tree["electra"] = encoder
        lines.append(f"discriminator: encoder from {d.loaded.source}")
        if head is not None:
            tree[_D_HEAD] = head
            lines[-1] += ", with its head"
        else:
            lines[-1] += f" ({d.loaded.kind}), fresh head"
    else:
        lines.append("discriminator: fresh")
    if config.generator is None:
        if g is not None and init_generator is not None:
            raise UserError(
                f"init_generator={init_generator}: this run's generator is uniform and has no "
                "parameters"
            )
    elif g is None:
        lines.append("generator: fresh" + _but_shared(config, d))
    else:
        _place_generator(tree, fresh, g, config, d is not None, tokens, lines)
    if config.sharing == "gdes":
        tree = with_deltas(_one_start(tree, d, g))
    step = d.loaded.global_step if d is not None else None
    return tree, lines, step


def _one_start(tree: Tree, d: _Start | None, g: _Start | None) -> Tree:
    """A pair's tree where tables that start fresh are those of the network that does not."""
    own, lent = tree["electra"]["embeddings"], tree["generator"]["embeddings"]
    if g is None:
        return {**tree, "generator": {**tree["generator"], "embeddings": own}}
    if d is not None:
        return tree
    return {**tree, "electra": {**tree["electra"], "embeddings": lent}}


def _but_shared(config: PairConfig, d: _Start | None) -> str:
    if d is None or config.sharing in ("none", "nes"):
        return ""
    return " head" if config.sharing == "all" else ", but for what it shares"


def _place_generator(
    tree: Tree,
    fresh: Mapping[str, Any],
    g: _Start,
    config: PairConfig,
    has_discriminator: bool,
    tokens: _Tokens,
    lines: list[str],
) -> None:
    """Puts the generator's encoder and head into `tree`, as far as they are its own."""
    assert config.generator is not None
    _check_shape(g, config.generator, "generator")
    if config.sharing == "all":
        template = fresh["electra"]
    elif config.own_embeddings:
        template = fresh["generator"]
    else:
        template = {"embeddings": fresh["electra"]["embeddings"], **fresh["generator"]}
    encoder, head = _fit(g, template, fresh[_G_HEAD], tokens, lines)
    line = f"generator: encoder from {g.loaded.source}"
    if config.own_embeddings:
        tree["generator"] = encoder
    elif config.sharing == "embeddings":
        tree["generator"] = {k: v for k, v in encoder.items() if k != "embeddings"}
        if not has_discriminator:
            tree["electra"] = {**tree["electra"], "embeddings": encoder["embeddings"]}
            line += ", its embeddings are the shared ones"
        elif not _same(tree["electra"]["embeddings"], encoder["embeddings"]):
            line += ", its embeddings differ from the discriminator's, whose are shared"
    elif not has_discriminator:
        tree["electra"] = encoder
    else:
        line = f"generator: shares the discriminator's encoder; {g.loaded.source}"
    if head is None:
        line += ", fresh head"
    else:
        tree[_G_HEAD] = head
        line += ", with its head"
    lines.append(line)


def _initial_masked_lm(
    init: str | os.PathLike[str] | None,
    config: ElectraConfig,
    fresh: Mapping[str, Any],
    tokens: _Tokens,
    lines: list[str],
) -> tuple[Tree, list[str], int | None]:
    """`initial_parameters` of a masked-LM network alone."""
    if init is None:
        return dict(fresh), ["fresh"], None
    start = _masked_lm_start(init)
    _check_shape(start, config, "network")
    encoder, head = _fit(start, fresh["electra"], fresh[_G_HEAD], tokens, lines)
    tree = {"electra": encoder, _G_HEAD: fresh[_G_HEAD] if head is None else head}
    lines.append(f"encoder from {init}, {'fresh' if head is None else 'with its'} head")
    return tree, lines, start.loaded.global_step


def _starts(
    init: str | os.PathLike[str] | None, init_generator: str | os.PathLike[str] | None
) -> tuple[_Start | None, _Start | None]:
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
        d = _start(loaded, DISCRIMINATOR)
        if loaded.kind == PAIR:
            assert isinstance(loaded.config, PairConfig)
            part = split_pair(loaded.config, loaded.params)[GENERATOR]
            if part is not None:
                g = _Start(part[0], part[1]["electra"], part[1][_G_HEAD], loaded)
    if init_generator is not None:
        loaded = load_model_folder(init_generator)
        if loaded.kind == DISCRIMINATOR:
            raise UserError(
                f"init_generator={init_generator}: holds a discriminator, not a generator: give it "
                "as init, or name the generator's folder"
            )
        g = _start(loaded, GENERATOR)
    return d, g


def _start(loaded: LoadedModel, role: str) -> _Start:
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
    head = tree.get(_D_HEAD if role == DISCRIMINATOR else _G_HEAD)
    return _Start(config, tree["electra"], head, loaded)


def _check_shape(start: _Start, config: ElectraConfig, role: str) -> None:
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


def _fit(
    start: _Start,
    fresh_encoder: Mapping[str, Any],
    fresh_head: Mapping[str, Any] | None,
    tokens: _Tokens,
    lines: list[str],
) -> tuple[Tree, Tree | None]:
    """(encoder, head or None) of a start in the run's vocabulary."""
    rows = _vocabulary_rows(start, fresh_encoder, tokens, lines)
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


def _vocabulary_rows(
    start: _Start,
    fresh_encoder: Mapping[str, Any],
    tokens: _Tokens,
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


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    x, y = flatten(a), flatten(b)
    return x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x)


__all__ = ["SHAPE", "initial_config", "initial_parameters"]
