"""Reading one network of a folder in Hugging Face's layout: names, shapes and config.json must
agree, and every tensor is used or listed as ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.config.model import ElectraConfig
from electra_jax.errors import UserError
from electra_jax.interop.formats.model_folder import CONFIG, tokenizer_size
from electra_jax.interop.formats.safetensors import read_file, read_weights
from electra_jax.interop.loaded import LoadedModel, stated_labels
from electra_jax.interop.mapping import names as table
from electra_jax.interop.mapping.hf_config import from_settings, guess_settings, identify
from electra_jax.interop.mapping.infer_shapes import (
    check_inferred,
    expected_shapes,
    heads,
    infer_bert,
    infer_modern,
    labels_of,
)
from electra_jax.interop.mapping.names import ENCODER, GENERATOR
from electra_jax.interop.mapping.tensors import Tensors, as_float32, check_shapes, gather
from electra_jax.interop.mapping.vocabulary import fit_rows


def load_huggingface(
    folder: Path,
    settings: dict[str, Any],
    num_attention_heads: int | None,
    file: Path | None = None,
) -> LoadedModel:
    """The network of `folder`, whose config.json holds `settings` (empty: there is no such file).
    `file` replaces the folder's own weight file.
    """
    where = str(file or folder)
    tensors = _modern_keys(read_file(file) if file else read_weights(folder))
    tensors, deltas = _without_deltas(tensors, where)
    notes: list[str] = []
    if not settings:
        settings = guess_settings(tensors, where)
        notes.append(
            f"no {CONFIG}: assuming model_type {settings['model_type']}, activation gelu, "
            "layer_norm_eps 1e-12"
        )
    scheme, kind = identify(settings, tensors, where)
    prefix = table.PREFIX[scheme]
    if kind == ENCODER and not any(name.startswith(prefix) for name in tensors):
        prefix = ""
    tensors, settings = _fit_vocabulary(tensors, settings, scheme, prefix, folder, notes)
    untied = _is_untied(tensors, settings, scheme, kind, prefix)
    bias = "cls.predictions.decoder.bias"
    if untied and bias in tensors:  # BertForMaskedLM adds this one; `predictions.bias` is unused
        tensors = {**tensors, "cls.predictions.bias": tensors[bias]}
    config = _configure(tensors, settings, scheme, kind, prefix, num_attention_heads, notes, where)
    config = config.replace(tie_word_embeddings=not untied)
    rows = table.model_rows(config, kind, scheme, prefix)
    tree, used = gather(rows, tensors, "huggingface", where)
    params = as_float32(tree, notes)
    num_labels = labels_of(kind, params)
    check_shapes(params, expected_shapes(config, kind, num_labels), where)
    labels = stated_labels(settings)
    if num_labels is not None and labels and len(labels) != num_labels:
        raise UserError(
            f"{where}: {CONFIG} names {len(labels)} labels, the classifier has {num_labels}"
        )
    return LoadedModel.of_folder(
        folder,
        kind=kind,
        config=config,
        params=params,
        source=file,
        settings=settings,
        num_labels=num_labels,
        id2label=labels if num_labels is not None else None,
        ignored=[*_account(tensors, used, scheme, params, where), *deltas],
        notes=notes,
    )


def _modern_keys(tensors: Tensors) -> Tensors:
    """Tensors under their modern names: old files have LayerNorm.gamma and .beta."""
    old = {".gamma": ".weight", ".beta": ".bias"}
    renamed = {
        name: name.removesuffix(end) + new
        for name in tensors
        for end, new in old.items()
        if name.endswith("LayerNorm" + end)
    }
    return {renamed.get(name, name): value for name, value in tensors.items()}


def _without_deltas(tensors: Tensors, where: str) -> tuple[Tensors, list[str]]:
    """(tensors without DeBERTa's `…._weight`, the names of those): the difference of a
    discriminator's table to its generator's, beside which the sum must stand as `….weight`."""
    deltas = sorted(name for name in tensors if name.endswith("._weight"))
    alone = [n for n in deltas if n.removesuffix("._weight") + ".weight" not in tensors]
    if alone:
        raise UserError(
            f"{where}: {', '.join(alone)}: the difference between a discriminator's embeddings and "
            "its generator's, without the sum (….weight): add the generator's table to it, and "
            "save the sum under that name"
        )
    return {name: value for name, value in tensors.items() if name not in deltas}, deltas


def _fit_vocabulary(
    tensors: Tensors,
    settings: dict[str, Any],
    scheme: str,
    prefix: str,
    folder: Path,
    notes: list[str],
) -> tuple[Tensors, dict[str, Any]]:
    """Cuts a padded vocabulary to the tokenizer's size; refuses a smaller one."""
    word = prefix + table.WORD_TABLE[scheme]
    if word not in tensors:
        return tensors, settings
    rows = int(np.shape(tensors[word])[0])
    size = tokenizer_size(folder) or settings.get("vocab_size") or rows
    tied = table.OUTPUT_TABLE[scheme].huggingface
    per_token = [word, f"{tied}.weight", f"{tied}.bias", "cls.predictions.bias"]
    tensors = fit_rows(tensors, rows, size, per_token, str(folder), notes)
    kept = int(np.shape(tensors[word])[0])
    if kept != rows and settings.get("vocab_size") == rows:
        settings = {**settings, "vocab_size": kept}
    return tensors, settings


def _is_untied(
    tensors: Tensors, settings: Mapping[str, Any], scheme: str, kind: str, prefix: str
) -> bool:
    """Whether a masked-LM head has an output table of its own."""
    if kind != GENERATOR:
        return False
    name, word = (
        f"{table.OUTPUT_TABLE[scheme].huggingface}.weight",
        prefix + table.WORD_TABLE[scheme],
    )
    if name not in tensors or word not in tensors:
        return not settings.get("tie_word_embeddings", True)
    same = np.array_equal(tensors[name], tensors[word])
    return not (same and settings.get("tie_word_embeddings", True))


def _configure(
    tensors: Tensors,
    settings: Mapping[str, Any],
    scheme: str,
    kind: str,
    prefix: str,
    num_attention_heads: int | None,
    notes: list[str],
    where: str,
) -> ElectraConfig:
    """The configuration inferred from shapes, completed by config.json and checked against it."""
    stated = from_settings(settings, scheme, kind, where)
    if scheme == "modernbert":
        inferred = infer_modern(tensors, where=where, prefix=prefix)
    else:
        inferred = infer_bert(tensors, "huggingface", where=where, encoder=prefix)
    check_inferred(inferred, stated, f"{where}/{CONFIG}")
    given = num_attention_heads or stated.get("num_attention_heads")
    count = heads(inferred["hidden_size"], given, "--num_attention_heads", notes, kind)
    try:
        return ElectraConfig(**{**stated, **inferred, "num_attention_heads": count})
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _account(
    tensors: Tensors, used: set[str], scheme: str, params: Mapping[str, Any], where: str
) -> list[str]:
    """The names that are ignored; a name that is neither used nor known is refused."""
    left = sorted(set(tensors) - used)
    ignored = [name for name in left if _known_extra(name, scheme, tensors, params)]
    unknown = sorted(set(left) - set(ignored))
    if unknown:
        raise UserError(
            f"{where}: {len(unknown)} tensors have no place in this network: "
            f"{', '.join(unknown[:12])}"
        )
    return ignored


def _known_extra(name: str, scheme: str, tensors: Tensors, params: Mapping[str, Any]) -> bool:
    """Whether a tensor can be ignored: buffers, repeated tied weights, BERT's sentence heads."""
    if name.endswith(("embeddings.position_ids", "embeddings.token_type_ids")):
        return True
    if scheme == "bert":
        if name == "cls.predictions.decoder.bias":
            return np.array_equal(tensors[name], tensors["cls.predictions.bias"])
        if name.removeprefix("bert.").startswith("pooler.dense."):
            return True
        if name.startswith("cls."):
            # A bare encoder uses no head, and nothing here uses next-sentence prediction.
            return "generator_predictions" not in params or "seq_relationship" in name
    return name == f"{table.OUTPUT_TABLE[scheme].huggingface}.weight"
