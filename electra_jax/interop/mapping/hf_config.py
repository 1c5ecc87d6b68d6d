"""config.json: this library's `ElectraConfig` as Hugging Face writes it, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from electra_jax.config.fields import absent_values
from electra_jax.config.model import POOLINGS, ElectraConfig
from electra_jax.errors import UserError
from electra_jax.interop.mapping.names import DISCRIMINATOR, ENCODER, GENERATOR
from electra_jax.modeling.heads.huggingface import CHOICE, QUESTION, SEQUENCE, TOKEN

# What each Hugging Face class is: (naming scheme = model_type, kind).
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
SCHEMES = ("electra", "bert", "modernbert")
# The model_type of folders that no class of `transformers` computes, so that loading there fails.
OWN = "electra_jax"
# The only label of a discriminator exported as a token classifier, by which loading recognises it.
REPLACED = "replaced"
# Prefixes of tensor names that identify a file's head, whatever its config.json says.
_MARKS = {
    "electra": (
        (DISCRIMINATOR, "discriminator_predictions."),
        (GENERATOR, "generator_predictions."),
        (SEQUENCE, "classifier.out_proj."),
        (CHOICE, "sequence_summary."),
        (TOKEN, "classifier."),
        (QUESTION, "qa_outputs."),
    ),
    "bert": ((GENERATOR, "cls.predictions."),),
    "modernbert": ((GENERATOR, "decoder."),),
}
# Other names of an activation in transformers, and ours.
_SAME_ACTIVATION = {
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_new",
}
_COMPUTED = (
    *("dtype", "scan_layers", "remat", "attention"),
    *("block", "rope_theta", "masked_lm_act", "pooling", "discriminator_head"),
)


def masked_lm_activation(config: ElectraConfig) -> str:
    """The activation of a network's masked-LM head."""
    return config.masked_lm_act or config.hidden_act


def has_class(config: ElectraConfig, kind: str) -> bool:
    """Whether a class of `transformers` computes this network.

    ElectraForMaskedLM's head is always the exact gelu; the reference's task heads and DeBERTa's
    replaced-token head have no class.
    """
    if kind == DISCRIMINATOR and config.discriminator_head != "electra":
        return False
    scheme = "modernbert" if config.block == "modern" else "electra"
    if kind == GENERATOR and scheme == "electra":
        return masked_lm_activation(config) == "gelu"
    return kind == DISCRIMINATOR or (scheme, kind) in ARCHITECTURES.values()


def architecture_of(config: ElectraConfig, kind: str) -> str:
    """The Hugging Face class that computes this network (`has_class`)."""
    if config.block == "modern":
        scheme_and_kind = ("modernbert", TOKEN if kind == DISCRIMINATOR else kind)
    else:
        scheme_and_kind = ("electra", kind)
    return next(name for name, value in ARCHITECTURES.items() if value == scheme_and_kind)


def to_settings(
    config: ElectraConfig,
    kind: str,
    special_ids: Mapping[str, int] | None = None,
    num_labels: int | None = None,
) -> dict[str, Any]:
    """The config.json of a network, as `transformers` 4.57 and 5 read it.

    `special_ids` ({"pad", "cls", "sep", …}) are the tokenizer's; without them only the pad id is
    known. `num_labels` is that of a classification head.
    """
    ids = dict(special_ids or {})
    settings: dict[str, Any] = {
        "architectures": [architecture_of(config, kind)],
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "initializer_range": config.initializer_range,
        "pad_token_id": ids.get("pad", config.pad_token_id),
        "tie_word_embeddings": config.tie_word_embeddings,
        "dtype": "float32",
    }
    if config.block == "bert":
        settings |= {
            "model_type": "electra",
            "embedding_size": config.embedding_size,
            "hidden_act": config.hidden_act,
            "hidden_dropout_prob": config.hidden_dropout_prob,
            "attention_probs_dropout_prob": config.attention_probs_dropout_prob,
            "type_vocab_size": config.type_vocab_size,
            "layer_norm_eps": config.layer_norm_eps,
            "position_embedding_type": "absolute",
        }
    else:
        settings |= _modern_settings(config, kind, ids)
    if kind in (SEQUENCE, TOKEN):
        labels = [f"LABEL_{i}" for i in range(num_labels or 2)]
        settings |= label_settings(labels)
    return settings


def label_settings(labels: Iterable[str]) -> dict[str, Any]:
    """The config.json fields that name the labels of a head."""
    names = list(labels)
    return {
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


def _modern_settings(config: ElectraConfig, kind: str, ids: Mapping[str, int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    act = masked_lm_activation(config) if kind == GENERATOR else config.hidden_act
    settings = {
        "model_type": "modernbert",
        "hidden_activation": config.hidden_act,
        "classifier_activation": act,
        "classifier_pooling": config.pooling,
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
        settings |= label_settings([REPLACED])
    return settings


def identify(settings: Mapping[str, Any], names: Iterable[str], where: str) -> tuple[str, str]:
    """(naming scheme, kind) of a folder, from its config.json and the names of its tensors.

    Raises `UserError` for an unknown architecture, and where the tensors belong to another kind of
    network than config.json names.
    """
    names = list(names)
    stated = settings.get("architectures") or []
    model_type = settings.get("model_type")
    if len(stated) == 1 and stated[0] in ARCHITECTURES:
        scheme, kind = ARCHITECTURES[stated[0]]
    elif stated or model_type not in SCHEMES:
        named = ", ".join(stated) or f"model_type {model_type!r}"
        raise UserError(
            f"{where}: {named} is not an architecture that can be read here: one of "
            f"{', '.join(ARCHITECTURES)}"
        )
    else:
        scheme, kind = str(model_type), _marked(str(model_type), names) or ENCODER
    found = _marked(scheme, names)
    if found != kind and {found, kind} == {DISCRIMINATOR, GENERATOR}:
        right = next(name for name, value in ARCHITECTURES.items() if value == (scheme, found))
        raise UserError(
            f"{where}: config.json says {stated[0]} (a {kind}), but the tensors are a {found}'s: "
            f'if that is what you mean, set "architectures": ["{right}"] in config.json; '
            f"otherwise fetch the {kind}'s folder"
        )
    if scheme == "modernbert" and kind == TOKEN:
        labels = {str(k): v for k, v in (settings.get("id2label") or {}).items()}
        kind = DISCRIMINATOR if labels == {"0": REPLACED} else TOKEN
    return scheme, kind


def guess_settings(names: Iterable[str], where: str) -> dict[str, Any]:
    """The fields assumed where config.json is absent: the model_type, by the tensors' names.

    For ModernBERT it is a `UserError`: names do not determine which layers are global.
    """
    names = list(names)
    if any("tok_embeddings" in name for name in names):
        raise UserError(
            f"{where}: these are ModernBERT weights without a config.json; shapes do not "
            "determine which layers are global and how positions rotate: fetch it too"
        )
    bert = any(name.startswith(("bert.", "cls.", "pooler.")) for name in names)
    return {"model_type": "bert" if bert else "electra", "layer_norm_eps": 1e-12}


def _marked(scheme: str, names: list[str]) -> str | None:
    """The kind of network whose head is among the names; None without a head."""
    return next(
        (kind for kind, mark in _MARKS[scheme] if any(n.startswith(mark) for n in names)), None
    )


def activation_name(name: str) -> str:
    """transformers' name of an activation in ours (unknown ones unchanged; the config refuses
    them).
    """
    return _SAME_ACTIVATION.get(name, name)


def from_settings(
    settings: Mapping[str, Any], scheme: str, kind: str, where: str
) -> dict[str, Any]:
    """The `ElectraConfig` fields that a config.json states.

    Raises `UserError` for settings that this library does not compute.
    """
    if settings.get("is_decoder"):
        raise UserError(f"{where}: is_decoder=true: a left-to-right decoder, not an encoder")
    fields = _from_modern(settings, kind, where) if scheme == "modernbert" else None
    if fields is None:
        fields = _from_bert(settings, scheme, kind, where)
    fields = {**absent_values(ElectraConfig), **fields}
    # BertModel and others repeat the default; only a masked-LM head has an output table.
    if kind != GENERATOR:
        fields["tie_word_embeddings"] = True
    return fields


def _from_bert(settings: Mapping[str, Any], scheme: str, kind: str, where: str) -> dict[str, Any]:
    position = settings.get("position_embedding_type") or "absolute"
    if position != "absolute":
        raise UserError(f"{where}: position_embedding_type={position!r}: only absolute is computed")
    known = {field.name for field in dataclasses.fields(ElectraConfig)} - set(_COMPUTED)
    fields = {k: v for k, v in settings.items() if k in known and v is not None}
    fields["hidden_act"] = activation_name(fields.get("hidden_act", "gelu"))
    fields["block"] = "bert"
    if scheme == "bert":
        fields["embedding_size"] = fields.get("hidden_size")
    elif kind == GENERATOR and fields["hidden_act"] != "gelu":
        fields["masked_lm_act"] = "gelu"  # ElectraForMaskedLM's head is, whatever hidden_act says
    if kind == CHOICE:
        for field, needed in (
            ("summary_type", "first"),
            ("summary_use_proj", True),
            ("summary_activation", "gelu"),
        ):
            if settings.get(field, needed) != needed:
                raise UserError(
                    f"{where}: {field}={settings[field]!r}: only {needed!r} is computed"
                )
    return fields


def _from_modern(settings: Mapping[str, Any], kind: str, where: str) -> dict[str, Any]:
    layers = settings.get("num_hidden_layers", 0)
    every = settings.get("global_attn_every_n_layers", 3)
    types = settings.get("layer_types") or [
        "sliding_attention" if i % every else "full_attention" for i in range(layers)
    ]
    if set(types) - {"full_attention"}:
        raise UserError(
            f"{where}: {types.count('sliding_attention')} of {layers} layers use sliding-window "
            "attention; modern blocks here are global in every layer"
        )
    for field in ("norm_bias", "attention_bias", "mlp_bias", "classifier_bias"):
        if settings.get(field):
            raise UserError(f"{where}: {field}=true: modern blocks here have no biases")
    if kind == GENERATOR and not settings.get("decoder_bias", True):
        raise UserError(f"{where}: decoder_bias=false: the masked-LM head here has a bias")
    rope = (settings.get("rope_parameters") or {}).get("full_attention") or {}
    if rope.get("rope_type", "default") != "default" or settings.get("rope_scaling"):
        raise UserError(f"{where}: scaled rotary positions are not computed here (default are)")
    pooling = settings.get("classifier_pooling", "cls")
    if kind in (SEQUENCE, CHOICE) and pooling not in POOLINGS:
        raise UserError(f"{where}: classifier_pooling={pooling!r}: only {', '.join(POOLINGS)}")
    act = activation_name(settings.get("hidden_activation", "gelu"))
    head_act = activation_name(settings.get("classifier_activation", "gelu"))
    if kind not in (GENERATOR, ENCODER) and head_act != act:
        raise UserError(
            f"{where}: classifier_activation={head_act!r} differs from hidden_activation={act!r}: "
            "only one activation is computed"
        )
    fields: dict[str, Any] = {
        "block": "modern",
        "embedding_size": settings.get("hidden_size"),
        "hidden_act": act,
        "layer_norm_eps": settings.get("norm_eps", 1e-5),
        "attention_probs_dropout_prob": settings.get("attention_dropout", 0.0),
        "hidden_dropout_prob": settings.get("mlp_dropout", 0.0),
        "pooling": pooling if kind in (SEQUENCE, CHOICE) else "cls",
        "rope_theta": float(rope.get("rope_theta", settings.get("global_rope_theta", 160000.0))),
    }
    if kind == GENERATOR and head_act != act:
        fields["masked_lm_act"] = head_act
    for field in (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "initializer_range",
        "pad_token_id",
        "tie_word_embeddings",
    ):
        if settings.get(field) is not None:
            fields[field] = settings[field]
    return fields
