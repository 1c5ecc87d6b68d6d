"""Initial parameters of pretraining from other models: a released pair, a discriminator alone, BERT
weights, each with its own vocabulary.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, TypeVar, overload

import numpy as np

from electra_jax.config.model import ONE_WIDTH, ElectraConfig, ElectricConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.mapping.names import GENERATOR, NOISE, PAIR
from electra_jax.interop.mapping.pair import split_pair, with_deltas, with_sums
from electra_jax.interop.starting_point import (
    D_HEAD,
    G_HEAD,
    SHAPE,
    Start,
    Tokens,
    adopt,
    check_shape,
    fit,
    start_of,
    starts_of,
    vocabulary_rows,
)
from electra_jax.modeling.trees import Tree, flatten

_Pair = TypeVar("_Pair", bound=PairConfig)


@overload
def initial_config(
    init: str | os.PathLike[str] | None,
    init_generator: str | os.PathLike[str] | None,
    config: _Pair,
) -> _Pair: ...


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
        return config if path is None else adopt(config, _masked_lm_start(path).config)
    d, g = starts_of(init, init_generator)
    discriminator, generator = config.discriminator, config.generator
    if d is not None:
        discriminator = adopt(discriminator, d.config)
    if generator is not None and config.sharing == "all":
        generator = discriminator
    elif isinstance(config, ElectricConfig):
        generator = _tower(config, discriminator, d)
    elif generator is not None and g is not None:
        generator = adopt(generator, g.config)
    elif generator is not None and config.sharing in ONE_WIDTH and generator.block == "bert":
        generator = _sharing(generator, discriminator)
    return dataclasses.replace(config, discriminator=discriminator, generator=generator)


def _sharing(generator: ElectraConfig, discriminator: ElectraConfig) -> ElectraConfig:
    """A fresh generator that reads the embeddings of `discriminator`."""
    return generator.replace(
        embedding_size=discriminator.embedding_size,
        max_position_embeddings=discriminator.max_position_embeddings,
        type_vocab_size=discriminator.type_vocab_size,
    )


def _tower(config: ElectricConfig, discriminator: ElectraConfig, d: Start | None) -> ElectraConfig:
    """The shape of the noise model's towers: those of the Electric model that it starts from."""
    assert config.generator is not None
    source = None if d is None else d.loaded.config
    if isinstance(source, ElectricConfig) and source.sharing == config.sharing:
        assert source.generator is not None
        return adopt(config.generator, source.generator)
    shared = config.sharing == "embeddings" and discriminator.block == "bert"
    return _sharing(config.generator, discriminator) if shared else config.generator


def _masked_lm_start(path: str | os.PathLike[str]) -> Start:
    """What a masked-LM run starts from: a masked-LM network, or any other's encoder."""
    loaded = load_model_folder(path)
    if loaded.kind == PAIR:
        raise UserError(
            f"init={path}: holds a pair, and this run trains one masked-LM network: name its "
            "generator's or its discriminator's folder"
        )
    return start_of(loaded, GENERATOR)


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
    tokens = Tokens(tokenizer_folder, vocabulary == "map")
    if isinstance(config, ElectraConfig):
        return _initial_masked_lm(init or init_generator, config, fresh, tokens, lines)
    d, g = starts_of(init, init_generator)
    fresh = with_sums(config, fresh)
    tree: Tree = dict(fresh)
    if d is not None:
        _place_discriminator(tree, fresh, d, config, tokens, lines)
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


def _one_start(tree: Tree, d: Start | None, g: Start | None) -> Tree:
    """A pair's tree where tables that start fresh are those of the network that does not."""
    own, lent = tree["electra"]["embeddings"], tree["generator"]["embeddings"]
    if g is None:
        return {**tree, "generator": {**tree["generator"], "embeddings": own}}
    if d is not None:
        return tree
    return {**tree, "electra": {**tree["electra"], "embeddings": lent}}


def initial_electric(
    init: str | os.PathLike[str] | None,
    config: ElectricConfig,
    fresh: Mapping[str, Any],
    tokenizer_folder: str | os.PathLike[str] | None = None,
) -> tuple[Tree, list[str], int | None]:
    """`initial_parameters` of an Electric run: the discriminator as there; the noise model from an
    Electric model with the same vocabulary and what its towers share, else fresh."""
    lines: list[str] = []
    tree: Tree = dict(fresh)
    tokens = Tokens(tokenizer_folder, True)
    d, _ = starts_of(init, None)
    assert d is not None
    _place_discriminator(tree, fresh, d, config, tokens, lines)
    source, noise = d.loaded, None
    if isinstance(source.config, ElectricConfig) and source.config.sharing == config.sharing:
        if vocabulary_rows(d, fresh["electra"], tokens, lines) is None:
            noise = split_pair(source.config, source.params)[NOISE]
    if noise is None:
        lines.append("noise model: fresh" + _but_shared(config, d))
    else:
        tree |= noise[1]
        lines.append(f"noise model: from {source.source}, with its head")
    return tree, lines, source.global_step


def _place_discriminator(
    tree: Tree,
    fresh: Mapping[str, Any],
    d: Start,
    config: PairConfig,
    tokens: Tokens,
    lines: list[str],
) -> None:
    """Puts the discriminator's encoder, and its head where there is one, into `tree`."""
    if d.config.discriminator_head != config.discriminator.discriminator_head:
        d = dataclasses.replace(d, head=None)
    check_shape(d, config.discriminator, "discriminator")
    encoder, head = fit(d, fresh["electra"], fresh.get(D_HEAD), tokens, lines)
    tree["electra"] = encoder
    lines.append(f"discriminator: encoder from {d.loaded.source}")
    if head is not None:
        tree[D_HEAD] = head
        lines[-1] += ", with its head"
    else:
        lines[-1] += f" ({d.loaded.kind}), fresh head"


def _but_shared(config: PairConfig, d: Start | None) -> str:
    if d is None or config.sharing in ("none", "nes"):
        return ""
    return " head" if config.sharing == "all" else ", but for what it shares"


def _place_generator(
    tree: Tree,
    fresh: Mapping[str, Any],
    g: Start,
    config: PairConfig,
    has_discriminator: bool,
    tokens: Tokens,
    lines: list[str],
) -> None:
    """Puts the generator's encoder and head into `tree`, as far as they are its own."""
    assert config.generator is not None
    check_shape(g, config.generator, "generator")
    if config.sharing == "all":
        template = fresh["electra"]
    elif config.own_embeddings:
        template = fresh["generator"]
    else:
        template = {"embeddings": fresh["electra"]["embeddings"], **fresh["generator"]}
    encoder, head = fit(g, template, fresh[G_HEAD], tokens, lines)
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
        tree[G_HEAD] = head
        line += ", with its head"
    lines.append(line)


def _initial_masked_lm(
    init: str | os.PathLike[str] | None,
    config: ElectraConfig,
    fresh: Mapping[str, Any],
    tokens: Tokens,
    lines: list[str],
) -> tuple[Tree, list[str], int | None]:
    """`initial_parameters` of a masked-LM network alone."""
    if init is None:
        return dict(fresh), ["fresh"], None
    start = _masked_lm_start(init)
    check_shape(start, config, "network")
    encoder, head = fit(start, fresh["electra"], fresh[G_HEAD], tokens, lines)
    tree = {"electra": encoder, G_HEAD: fresh[G_HEAD] if head is None else head}
    lines.append(f"encoder from {init}, {'fresh' if head is None else 'with its'} head")
    return tree, lines, start.loaded.global_step


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    x, y = flatten(a), flatten(b)
    return x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x)


__all__ = ["SHAPE", "initial_config", "initial_electric", "initial_parameters"]
