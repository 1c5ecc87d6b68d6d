"""config.json: this library's `ElectraConfig` as Hugging Face writes it, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from electra_jax.config import ElectraConfig
from electra_jax.errors import UserError
from electra_jax.interop.names import (
    CHOICE,
    DISCRIMINATOR,
    ENCODER,
    GENERATOR,
    QUESTION,
    SEQUENCE,
    TOKEN,
)

# What each Hugging Face class is: (naming scheme, kind).
ARCHITECTURES: dict[str, tuple[str, str]] = {
    "ElectraModel": ("electra", ENCODER),
    "ElectraForPreTraining": ("electra", DISCRIMINATOR),
    "ElectraForMaskedLM": ("electra", GENERATOR),
    "ElectraForSequenceClassification": ("electra", SEQUENCE),
    "ElectraForTokenClassification": ("electra", TOKEN),
    "ElectraForQuestionAnswering": ("electra", QUESTION),
    "ElectraForMultipleChoice": ("electra", CHOICE),
    "BertModel": ("bert", ENCODER),
    "BertForMaskedLM": ("bert", GENERATOR),
    "BertForPreTraining": ("bert", GENERATOR),
    "ModernBertModel": ("modernbert", ENCODER),
    "ModernBertForMaskedLM": ("modernbert", GENERATOR),
    "ModernBertForSequenceClassification": ("modernbert", SEQUENCE),
    "ModernBertForTokenClassification": ("modernbert", TOKEN),
    "ModernBertForQuestionAnswering": ("modernbert", QUESTION),
    "ModernBertForMultipleChoice": ("modernbert", CHOICE),
}
# The only label of a discriminator exported as a token classifier; its presence tells one on the
# way back.
REPLACED = "replaced"
_DEPTH = ("dtype", "scan_layers", "remat", "attention", "block", "rope_theta")


def architecture_of(config: ElectraConfig, kind: str) -> str:
    """The Hugging Face class that computes this network."""
    if config.block == "modern":
        kind = TOKEN if kind == DISCRIMINATOR else kind
        scheme = "modernbert"
    else:
        scheme = "electra"
    return next(name for name, (s, k) in ARCHITECTURES.items() if (s, k) == (scheme, kind))


def to_settings(
    config: ElectraConfig, kind: str, special_ids: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """The config.json of a network, as `transformers` 4.57 and 5 read it.

    `special_ids` ({"pad", "cls", "sep", …}) are the tokenizer's; without them only the pad id is
    known.
    """
    ids = dict(special_ids or {})
    common = {
        "architectures": [architecture_of(config, kind)],
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "initializer_range": config.initializer_range,
        "pad_token_id": ids.get("pad", config.pad_token_id),
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    if config.block == "bert":
        return common | {
            "model_type": "electra",
            "embedding_size": config.embedding_size,
            "hidden_act": config.hidden_act,
            "hidden_dropout_prob": config.hidden_dropout_prob,
            "attention_probs_dropout_prob": config.attention_probs_dropout_prob,
            "type_vocab_size": config.type_vocab_size,
            "layer_norm_eps": config.layer_norm_eps,
            "position_embedding_type": "absolute",
        }
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    settings = common | {
        "model_type": "modernbert",
        "hidden_activation": config.hidden_act,
        "classifier_activation": config.hidden_act,
        "norm_eps": config.layer_norm_eps,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "classifier_bias": False,
        "decoder_bias": True,
        "attention_dropout": config.attention_probs_dropout_prob,
        "embedding_dropout": config.hidden_dropout_prob,
        "mlp_dropout": config.hidden_dropout_prob,
        "classifier_dropout": 0.0,
        "bos_token_id": ids.get("cls"),
        "cls_token_id": ids.get("cls"),
        "eos_token_id": ids.get("sep"),
        "sep_token_id": ids.get("sep"),
        # All layers global: named once as transformers 4 reads it, once as 5 does.
        "global_attn_every_n_layers": 1,
        "global_rope_theta": config.rope_theta,
        "local_rope_theta": config.rope_theta,
        "layer_types": ["full_attention"] * config.num_hidden_layers,
        "rope_parameters": {"full_attention": rope, "sliding_attention": dict(rope)},
    }
    if kind == DISCRIMINATOR:
        settings |= {"id2label": {"0": REPLACED}, "label2id": {REPLACED: 0}, "num_labels": 1}
    return settings


def identify(settings: Mapping[str, Any], where: str) -> tuple[str, str]:
    """(naming scheme, kind) of a config.json; a class that is not known here is a `UserError`."""
    names = settings.get("architectures") or []
    if len(names) != 1 or names[0] not in ARCHITECTURES:
        named = ", ".join(names) or "none"
        raise UserError(
            f"{where}: architecture {named} is not supported: one of {', '.join(ARCHITECTURES)}"
        )
    scheme, kind = ARCHITECTURES[names[0]]
    if scheme == "modernbert" and kind == TOKEN:
        labels = {str(k): v for k, v in (settings.get("id2label") or {}).items()}
        kind = DISCRIMINATOR if labels == {"0": REPLACED} else TOKEN
    return scheme, kind


def from_settings(settings: Mapping[str, Any], scheme: str, where: str) -> dict[str, Any]:
    """The `ElectraConfig` fields that a config.json states; what this library cannot compute is a
    `UserError`.
    """
    known = {field.name for field in dataclasses.fields(ElectraConfig)} - set(_DEPTH)
    if scheme == "modernbert":
        return _from_modern(settings, where)
    kind = settings.get("position_embedding_type") or "absolute"
    if kind != "absolute":
        raise UserError(f"{where}: position_embedding_type={kind!r} is not supported (absolute is)")
    if settings.get("is_decoder"):
        raise UserError(
            f"{where}: is_decoder=true: this is a left-to-right decoder, not an encoder"
        )
    fields = {k: v for k, v in settings.items() if k in known and v is not None}
    if scheme == "bert":
        fields["embedding_size"] = fields.get("hidden_size")
    return fields | {"block": "bert"}


def _from_modern(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    layers = settings["num_hidden_layers"]
    every = settings.get("global_attn_every_n_layers", 3)
    types = settings.get("layer_types") or [
        "sliding_attention" if i % every else "full_attention" for i in range(layers)
    ]
    if set(types) != {"full_attention"}:
        raise UserError(
            f"{where}: {types.count('sliding_attention')} of {layers} layers use sliding-window "
            "attention; "
            "modern blocks here are global in every layer"
        )
    for field in ("norm_bias", "attention_bias", "mlp_bias", "classifier_bias"):
        if settings.get(field):
            raise UserError(f"{where}: {field}=true is not supported: modern blocks have no biases")
    rope = (settings.get("rope_parameters") or {}).get("full_attention") or {}
    if rope.get("rope_type", "default") != "default":
        raise UserError(f"{where}: rope_type={rope['rope_type']!r} is not supported (default is)")
    act = settings.get("hidden_activation", "gelu")
    if settings.get("classifier_activation", act) != act:
        raise UserError(
            f"{where}: classifier_activation={settings['classifier_activation']!r} differs from "
            f"hidden_activation={act!r}: not supported"
        )
    fields = {
        "block": "modern",
        "embedding_size": settings.get("hidden_size"),
        "hidden_act": act,
        "layer_norm_eps": settings.get("norm_eps", 1e-5),
        "attention_probs_dropout_prob": settings.get("attention_dropout", 0.0),
        "hidden_dropout_prob": settings.get("mlp_dropout", 0.0),
        "rope_theta": float(rope.get("rope_theta", settings.get("global_rope_theta", 160000.0))),
    }
    for field in (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "initializer_range",
        "pad_token_id",
    ):
        if settings.get(field) is not None:
            fields[field] = settings[field]
    return fields
