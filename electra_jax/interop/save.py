"""Writing model folders: Hugging Face layout (config.json, model.safetensors, tokenizer).

A network that no class of `transformers` computes has `model_type: electra_jax`, its head in
`heads.safetensors` and a plain ElectraModel in `encoder/`: loading it there fails instead of
initialising a random head.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.config.model import ElectraConfig, ElectricConfig, PairConfig
from electra_jax.interop.formats.model_card import ModelFacts, model_card, write_card
from electra_jax.interop.formats.model_folder import (
    CONFIG,
    ENCODER_FOLDER,
    HEADS_FILE,
    copy_tokenizer,
    new_folder,
    special_ids,
    write_json,
)
from electra_jax.interop.formats.safetensors import SAFETENSORS, write_safetensors
from electra_jax.interop.mapping import names as table
from electra_jax.interop.mapping.hf_config import OWN, has_class, to_settings
from electra_jax.interop.mapping.infer_shapes import labels_of
from electra_jax.interop.mapping.names import DISCRIMINATOR, ENCODER, NOISE
from electra_jax.interop.mapping.pair import ELECTRIC_SETTINGS, split_pair
from electra_jax.interop.mapping.tensors import scatter
from electra_jax.modeling.trees import flatten, unflatten


def save_model_folder(
    folder: str | os.PathLike[str],
    kind: str,
    config: ElectraConfig,
    params: Mapping[str, Any],
    tokenizer_folder: str | os.PathLike[str] | None,
    extra_config: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = True,
    do_lower_case: bool | None = None,
    card: ModelFacts | str | None = None,
) -> None:
    """Writes one network as a model folder, whole or not at all.

    `kind` and `params` are `LoadedModel`'s ("discriminator": params of `Discriminator`,
    "generator": of `MaskedLM`, "encoder": {"electra": …}, Hugging Face's fine-tuning heads: of
    `FineTuned`, "reference": {"electra": …, "task_specific": …}). What `transformers`
    computes becomes its class; anything else `model_type: electra_jax`. `extra_config` is merged
    into config.json (id2label, problem_type, …). `card` are the facts for its model card, or the
    whole text of it. `overwrite` replaces an earlier model folder, never one that holds anything
    else, and never a card that a person wrote.
    """
    flat = {path: np.asarray(leaf) for path, leaf in flatten(params).items()}
    params = unflatten({path: a.astype(np.float32, copy=False) for path, a in flat.items()})
    ids = special_ids(tokenizer_folder)
    extra = dict(extra_config or {})
    with new_folder(folder, overwrite) as scratch:
        if has_class(config, kind):
            settings = to_settings(config, kind, ids, labels_of(kind, params))
            write_safetensors(
                scratch / SAFETENSORS,
                scatter(table.model_rows(config, kind), params, "huggingface"),
            )
        else:
            settings = _save_own(scratch, kind, config, params, ids)
        if tokenizer_folder is not None:
            inner = [scratch / ENCODER_FOLDER] if (scratch / ENCODER_FOLDER).is_dir() else []
            for target in [scratch, *inner]:
                copy_tokenizer(
                    tokenizer_folder,
                    target,
                    token_types=config.block == "bert",
                    max_length=config.max_position_embeddings,
                    do_lower_case=do_lower_case,
                )
        settings |= extra
        write_json(scratch / CONFIG, settings)
        if not isinstance(card, str):
            size = sum(int(a.size) for a in flat.values())
            card = model_card(kind, config, settings, card or ModelFacts(), size)
        write_card(scratch, card, Path(folder))


def _save_own(
    scratch: Path,
    kind: str,
    config: ElectraConfig,
    params: Mapping[str, Any],
    ids: Mapping[str, int],
) -> dict[str, Any]:
    """Writes encoder/ and the heads; returns the config.json of a network of our own. Electric's
    noise model has no encoder that `transformers` knows: all of it is among the heads."""
    if kind == NOISE:
        write_safetensors(scratch / HEADS_FILE, flatten(params))
        settings = to_settings(config, ENCODER, ids)
        del settings["architectures"]
        tower = settings.pop("model_type")
        act = config.masked_lm_act
        return {"model_type": OWN, "kind": kind, "tower": tower, "masked_lm_act": act, **settings}
    inner = scratch / ENCODER_FOLDER
    inner.mkdir()
    rows = table.model_rows(config, ENCODER)
    encoder = {"electra": params["electra"]}
    write_safetensors(inner / SAFETENSORS, scatter(rows, encoder, "huggingface"))
    write_json(inner / CONFIG, to_settings(config, ENCODER, ids))
    rest = {name: tree for name, tree in params.items() if name != "electra"}
    write_safetensors(scratch / HEADS_FILE, flatten(rest))
    return {
        "model_type": OWN,
        "kind": kind,
        "masked_lm_act": config.masked_lm_act,
        "tie_word_embeddings": config.tie_word_embeddings,
        "discriminator_head": config.discriminator_head,
    }


def save_pair(
    folder: str | os.PathLike[str],
    pair: PairConfig,
    params: Mapping[str, Any],
    tokenizer_folder: str | os.PathLike[str] | None,
    extra_config: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Writes `folder/discriminator` and, unless it is uniform, `folder/generator` (of Electric
    `folder/noise`), each by `save_model_folder`, whose options are passed on. `params` is
    `Electra`'s tree, or `Electric`'s.
    """
    electric = isinstance(pair, ElectricConfig)
    for kind, part in split_pair(pair, params).items():
        if part is not None:
            config, tree = part
            own = Path(folder) / kind
            extra = dict(extra_config or {})
            extra |= ELECTRIC_SETTINGS if electric and kind == DISCRIMINATOR else {}
            save_model_folder(own, kind, config, tree, tokenizer_folder, extra, **options)
