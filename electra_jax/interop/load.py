"""Reading a network from any model folder, run or checkpoint; `save.py` writes folders.

This module recognises the layout; `load_huggingface.py` and `load_tf1.py` read it. All return a
`LoadedModel` (`loaded.py`).
"""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

from electra_jax.config.model import ElectraConfig
from electra_jax.errors import UserError
from electra_jax.interop.formats.adapter_folder import ADAPTER_CONFIG, apply_adapter
from electra_jax.interop.formats.hub import local_path
from electra_jax.interop.formats.model_folder import (
    CONFIG,
    ENCODER_FOLDER,
    HEADS_FILE,
    read_json,
)
from electra_jax.interop.formats.safetensors import SAFETENSORS, has_weights, read_safetensors
from electra_jax.interop.formats.tf1 import is_bundle
from electra_jax.interop.load_huggingface import load_huggingface
from electra_jax.interop.load_tf1 import load_tf1
from electra_jax.interop.loaded import (
    LoadedModel,
    encoder_of,
    expect_kind,
    single,
    stated_labels,
    task_heads_of,
)
from electra_jax.interop.mapping.hf_config import OWN, from_settings
from electra_jax.interop.mapping.infer_shapes import expected_shapes, labels_of
from electra_jax.interop.mapping.names import (
    DISCRIMINATOR,
    ENCODER,
    GENERATOR,
    MASKED_LM,
    NOISE,
    PAIR,
)
from electra_jax.interop.mapping.pair import join_electric, join_pair
from electra_jax.interop.mapping.tensors import as_float32, check_shapes
from electra_jax.modeling.trees import unflatten

log = logging.getLogger(__name__)


def load_model_folder(
    path: str | os.PathLike[str],
    *,
    num_attention_heads: int | None = None,
    generator_num_attention_heads: int | None = None,
) -> LoadedModel:
    """A network (or pair) from a Hugging Face folder, a folder of two, a run's folder, or a TF1
    checkpoint.

    `path` may be one weight file in such a folder, and config.json may be absent: all but a few
    fields follow from shapes and names, the others are assumed and noted. A name that is no path is
    looked up on the Hub where the extra `hub` is installed. Every tensor is used or listed in
    `ignored`, every parameter is filled; anything else is a `UserError` that lists what is wrong.
    """
    folder = local_path(path)
    if (folder / "model").is_dir() and not has_weights(folder):  # the folder of a run
        return load_model_folder(
            folder / "model",
            num_attention_heads=num_attention_heads,
            generator_num_attention_heads=generator_num_attention_heads,
        )
    if is_bundle(folder):
        loaded = load_tf1(folder, num_attention_heads, generator_num_attention_heads)
    elif folder.is_file():
        loaded = _load_one(folder.parent, num_attention_heads, folder)
    elif has_weights(folder) or any((folder / f).is_file() for f in (CONFIG, ADAPTER_CONFIG)):
        loaded = _load_one(folder, num_attention_heads)
    elif (folder / DISCRIMINATOR / CONFIG).is_file():
        loaded = _load_two(folder, num_attention_heads, generator_num_attention_heads)
    elif (folder / MASKED_LM / CONFIG).is_file():  # a discriminator with a masked-LM head
        loaded = _load_one(folder / MASKED_LM, num_attention_heads)
    elif (folder / GENERATOR / CONFIG).is_file():
        loaded = _load_one(folder / GENERATOR, generator_num_attention_heads)
    elif not folder.exists():
        raise UserError(f"{path}: no such folder or checkpoint")
    else:
        raise UserError(
            f"{path}: no model here: expected {CONFIG} with {SAFETENSORS}, discriminator/ and "
            "generator/, or a TF1 checkpoint (.index, .data)"
        )
    for note in loaded.notes:
        log.warning("%s: %s", path, note)
    return loaded


def _load_one(
    folder: Path, num_attention_heads: int | None, file: Path | None = None
) -> LoadedModel:
    """One network of a folder; `file` replaces the folder's own weight file."""
    if file is None and (folder / ADAPTER_CONFIG).is_file():
        return _load_adapted(folder, num_attention_heads)
    settings = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    if settings.get("model_type") == OWN:
        return _load_own(folder, settings, num_attention_heads)
    return load_huggingface(folder, settings, num_attention_heads, file)


def _load_own(folder: Path, settings: dict[str, Any], num_heads: int | None) -> LoadedModel:
    """A network of our own: the encoder and the heads beside it."""
    if settings.get("kind") == NOISE:
        raise UserError(
            f"{folder}: holds Electric's noise model, which is read beside its discriminator: name "
            f"{folder.parent}"
        )
    encoder = _load_one(folder / ENCODER_FOLDER, num_heads)
    assert isinstance(encoder.config, ElectraConfig)
    rest = unflatten(read_safetensors(folder / HEADS_FILE))
    config = encoder.config.replace(
        masked_lm_act=settings.get("masked_lm_act"),
        tie_word_embeddings=settings.get("tie_word_embeddings", True),
        discriminator_head=settings.get("discriminator_head", "electra"),
    )
    kind = str(settings.get("kind"))
    params = {**encoder.params, **as_float32(rest, encoder.notes)}
    if kind in (GENERATOR, DISCRIMINATOR):
        check_shapes(params, expected_shapes(config, kind), str(folder))
    labels = stated_labels(settings)
    return LoadedModel.of_folder(
        folder,
        kind=kind,
        config=config,
        params=params,
        settings=settings,
        num_labels=len(labels) if labels else None,
        id2label=labels,
        task_heads=task_heads_of(params),
        notes=encoder.notes,
    )


def _load_adapted(folder: Path, num_heads: int | None) -> LoadedModel:
    """A base model with the adapter that was trained on it."""
    content = read_json(folder / ADAPTER_CONFIG)
    try:
        base = load_model_folder(content["base"], num_attention_heads=num_heads)
    except UserError as error:
        raise UserError(
            f"{folder} was trained onto the base {content['base']}, which cannot be read "
            f'({error}); where the base has moved, write its path as "base" into '
            f"{folder / ADAPTER_CONFIG}"
        ) from None
    config, encoder = encoder_of(base)
    params = apply_adapter(folder, content, encoder)
    settings = content["settings"]
    return LoadedModel.of_folder(
        folder,
        kind=content["kind"],
        config=config,
        params=params,
        settings=settings,
        tokenizer_folder=base.tokenizer_folder,
        num_labels=labels_of(content["kind"], params),
        id2label=stated_labels(settings),
        task_heads=task_heads_of(params),
        notes=base.notes,
    )


def _load_two(folder: Path, d_heads: int | None, g_heads: int | None) -> LoadedModel:
    """A folder with `discriminator/` and, where there is one, `generator/` as one pair."""
    d = expect_kind(_load_one(folder / DISCRIMINATOR, d_heads), DISCRIMINATOR)
    if (folder / NOISE / CONFIG).is_file():
        return _with_noise(folder, d, g_heads)
    g = None
    if (folder / GENERATOR / CONFIG).is_file():
        g = expect_kind(_load_one(folder / GENERATOR, g_heads), GENERATOR)
    config, params = join_pair(single(d), None if g is None else single(g))
    return dataclasses.replace(
        d,
        kind=PAIR,
        config=config,
        params=params,
        source=str(folder),
        ignored=d.ignored + (g.ignored if g else []),
        notes=d.notes + (g.notes if g else []),
    )


def _with_noise(folder: Path, d: LoadedModel, num_heads: int | None) -> LoadedModel:
    """Electric: a discriminator and the noise model in `folder`."""
    inner = folder / NOISE
    settings = read_json(inner / CONFIG)
    fields = from_settings(settings, str(settings.get("tower")), ENCODER, str(inner))
    fields |= {"masked_lm_act": settings.get("masked_lm_act")}
    if num_heads is not None:
        fields["num_attention_heads"] = num_heads
    noise = unflatten(as_float32(read_safetensors(inner / HEADS_FILE), d.notes))
    config, params = join_electric(single(d), (ElectraConfig(**fields), noise))
    check_shapes(params, expected_shapes(config, PAIR), str(folder))
    return dataclasses.replace(d, kind=PAIR, config=config, params=params, source=str(folder))
