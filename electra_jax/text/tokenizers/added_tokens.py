"""Tokens added to a vocabulary after it was made, in the layout of slow tokenizers: beside the
vocabulary's own file, not in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.tokenizer_json import added_token, read_json

ADDED_TOKENS_FILE = "added_tokens.json"


def read_added_tokens(
    folder: Path, config: dict[str, Any], vocab: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Entries of `added_tokens` of a tokenizer.json, in the order of their ids.

    They come from "added_tokens_decoder" of tokenizer_config.json or else from added_tokens.json,
    with the properties that transformers gives them: a token that the configuration names as a
    special one is looked for in the text as it is, any other in the normalized text.

    Args:
      folder: of the vocabulary.
      config: content of tokenizer_config.json and special_tokens_map.json.
      vocab: ids of the vocabulary itself.

    Raises:
      UserError: ids that do not continue those of the vocabulary, or that contradict them.
    """
    source, tokens = _described(folder, config)
    tokens = sorted(tokens, key=lambda token: token["id"])
    ids = dict(vocab)
    free = max(ids.values(), default=-1) + 1
    for token in tokens:
        content, index = token["content"], token["id"]
        if content not in ids and index == free:
            ids[content] = index
            free += 1
        elif ids.get(content) != index:
            known = f"has the id {ids[content]}" if content in ids else f"would have the id {free}"
            raise UserError(
                f"{source} gives {content!r} the id {index}, but beside this vocabulary it "
                f"{known}; are these files of one tokenizer?"
            )
    return tokens


def _described(folder: Path, config: dict[str, Any]) -> tuple[Path, list[dict[str, Any]]]:
    """The file that describes added tokens, and their entries."""
    decoder = config.get("added_tokens_decoder")
    if decoder is not None:
        source = folder / "tokenizer_config.json"
        if not isinstance(decoder, dict):
            raise UserError(f'{source}: "added_tokens_decoder" is not an object of tokens by id')
        return source, [_from_decoder(source, index, token) for index, token in decoder.items()]
    source = folder / ADDED_TOKENS_FILE
    special = set(_special_tokens(config))
    tokens = []
    for content, index in read_json(source).items():
        if isinstance(index, bool) or not isinstance(index, int):
            raise UserError(f"{source}: the id of {content!r} is {index!r}, not a number")
        tokens.append(_entry(index, content, special=content in special))
    return source, tokens


def _from_decoder(source: Path, index: str, token: Any) -> dict[str, Any]:
    content = token.get("content") if isinstance(token, dict) else None
    if not isinstance(content, str) or not index.isdecimal():
        raise UserError(f'{source}: entry {index!r} of "added_tokens_decoder" is not a token by id')
    flags = {key: bool(token.get(key, False)) for key in ("single_word", "lstrip", "rstrip")}
    special = bool(token.get("special", False))
    normalized = bool(token.get("normalized", not special))
    return {**_entry(int(index), content, special), **flags, "normalized": normalized}


def _entry(index: int, content: str, special: bool) -> dict[str, Any]:
    return {**added_token(index, content), "special": special, "normalized": not special}


def _special_tokens(config: dict[str, Any]) -> Iterator[str]:
    """All tokens that the configuration names as special, whatever their role."""
    lists = (config.get(key) for key in ("additional_special_tokens", "extra_special_tokens"))
    listed = [token for values in lists if isinstance(values, list) for token in values]
    named = [value for key, value in config.items() if key.endswith("_token")]
    for token in (*named, *listed):
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str):
            yield content
