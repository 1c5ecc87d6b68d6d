"""The content of a tokenizer.json as a value: special tokens, what surrounds it in a folder, hash.

Pure functions of dicts; `Tokenizer` and its loading are in tokenizer.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Container
from dataclasses import asdict
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.text.tokenizers import wordpiece
from electra_jax.text.tokenizers.special_ids import ROLES, SpecialIds

KINDS = {"WordPiece": "wordpiece", "Unigram": "unigram", "BPE": "bpe"}
"""Kinds of tokenizers by the type of the model in tokenizer.json."""

USUAL_NAMES = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>", "<cls>"),
    "sep": ("[SEP]", "</s>", "<sep>"),
    "mask": ("[MASK]", "<mask>"),
}


def declare_special_tokens(
    definition: dict[str, Any], named: dict[str, Any], source: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Finds the special tokens and declares them special.

    Args:
      definition: content of a tokenizer.json.
      named: content of tokenizer_config.json and the like, which may name them ("pad_token" …).
      source: for messages.

    Returns:
      The definition with them among its added tokens, and their names by role.

    Raises:
      UserError: a special token that is missing, or two that share an id.
    """
    added = {token["content"]: token for token in definition.get("added_tokens") or []}
    vocab = definition["model"]["vocab"]
    entries = vocab if isinstance(vocab, dict) else {token: i for i, (token, _) in enumerate(vocab)}
    ids = {**entries, **{content: token["id"] for content, token in added.items()}}
    special_tokens: dict[str, str] = {}
    for role in ROLES:
        name = find_special_token(named, role, ids.keys())
        if name is None:
            raise UserError(
                f"{source} has no {role} token (looked for {' and '.join(USUAL_NAMES[role])}); "
                f'name it in tokenizer_config.json as "{role}_token"'
            )
        special_tokens[role] = name
        added[name] = added_token(ids[name], name)
    if len({ids[name] for name in special_tokens.values()}) < len(ROLES):
        raise UserError(
            f"{source}: two special tokens share one id ({special_tokens}); each needs its own"
        )
    tokens = sorted(added.values(), key=lambda token: token["id"])
    return {**definition, "added_tokens": tokens}, special_tokens


def find_special_token(named: dict[str, Any], role: str, known: Container[str]) -> str | None:
    """The known token that is named for the role, else the first usual one that is known."""
    value = named.get(f"{role}_token")
    value = value.get("content") if isinstance(value, dict) else value
    if isinstance(value, str) and value in known:
        return value
    return next((name for name in USUAL_NAMES[role] if name in known), None)


def added_token(index: int, content: str) -> dict[str, Any]:
    """The entry of a special token among the added tokens."""
    return {
        "id": index,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def guard_special_tokens(
    definition: dict[str, Any], special_tokens: Collection[str]
) -> dict[str, Any]:
    """A copy in which the special tokens are named so that no text can match them.

    Every pre-tokenizer in use replaces spaces or splits at them, so no text matches a token with a
    space in it. Added tokens that are special in another role (marks that a text holds, such as
    "[E1]") are found in the text, as `transformers` finds them.

    Args:
      definition: content of a tokenizer.json.
      special_tokens: the tokens of `ROLES`.
    """
    names = {token: f" \0{token}" for token in special_tokens}
    model = dict(definition["model"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): i for token, i in model["vocab"].items()}
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    else:
        model["vocab"] = [[names.get(token, token), score] for token, score in model["vocab"]]
    added = [
        {**token, "content": names[token["content"]]}
        if token["content"] in names
        else {**token, "special": False}
        for token in definition["added_tokens"]
    ]
    return {**definition, "model": model, "added_tokens": added}


def post_processor(special_tokens: dict[str, str], special_ids: SpecialIds) -> dict[str, Any]:
    """[CLS] A [SEP] B [SEP] with token types 0 and 1."""
    names = special_tokens
    cls = {"SpecialToken": {"id": names["cls"], "type_id": 0}}
    first, second = (
        [
            {"Sequence": {"id": sequence, "type_id": type_id}},
            {"SpecialToken": {"id": names["sep"], "type_id": type_id}},
        ]
        for sequence, type_id in (("A", 0), ("B", 1))
    )
    return {
        "type": "TemplateProcessing",
        "single": [cls, *first],
        "pair": [cls, *first, *second],
        "special_tokens": {
            names[role]: {
                "id": names[role],
                "ids": [getattr(special_ids, role)],
                "tokens": [names[role]],
            }
            for role in ("cls", "sep")
        },
    }


def transformers_config(
    definition: dict[str, Any], special_tokens: dict[str, str]
) -> dict[str, Any]:
    """The content of a tokenizer_config.json with which transformers gives the same ids."""
    config: dict[str, Any] = {f"{r}_token": special_tokens[r] for r in ROLES}
    config["clean_up_tokenization_spaces"] = False
    config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    normalizer = definition["normalizer"] or {}
    if definition["model"]["type"] == "WordPiece" and normalizer.get("type") == "BertNormalizer":
        for field, key in wordpiece.CONFIG_FIELDS.items():
            config[key] = normalizer[field]
        # transformers' BertTokenizer builds itself anew from the vocabulary, with its own word
        # limit; any other limit gives the same ids only where tokenizer.json itself runs.
        limit = definition["model"]["max_input_chars_per_word"]
        if limit == wordpiece.TRANSFORMERS_WORD_LIMIT:
            config["tokenizer_class"] = "BertTokenizer"
    return config


def definition_hash(definition: dict[str, Any], special_ids: SpecialIds) -> str:
    """sha256 (hex) of all that defines the ids."""
    model = definition["model"]
    normalizer = definition["normalizer"]
    if normalizer and normalizer["type"] == "BertNormalizer":
        strip = normalizer["strip_accents"]
        effective = normalizer["lowercase"] if strip is None else strip
        normalizer = {**normalizer, "strip_accents": effective}
    identity = {
        "model": model,
        "normalizer": normalizer,
        "pre_tokenizer": definition["pre_tokenizer"],
        "added_tokens": sorted(
            (token["id"], token["content"], token["special"])
            for token in definition["added_tokens"]
        ),
        "special_ids": asdict(special_ids),
    }
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file; {} where there is no file. Raises UserError for other content."""
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a JSON object")
    return content


def as_json(content: dict[str, Any]) -> bytes:
    """The bytes of a JSON file, indented, in UTF-8."""
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode("utf-8")
