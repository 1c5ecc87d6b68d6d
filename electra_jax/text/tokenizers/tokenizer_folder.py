"""Writing a tokenizer folder in Hugging Face's layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from electra_jax.text.tokenizers.added_tokens import ADDED_TOKENS_FILE
from electra_jax.text.tokenizers.special_ids import ROLES, SpecialIds
from electra_jax.text.tokenizers.tokenizer_json import (
    as_json,
    post_processor,
    transformers_config,
)


def write_folder(
    folder: Path,
    definition: dict[str, Any],
    special_tokens: dict[str, str],
    special_ids: SpecialIds,
    spiece: bytes | None,
) -> None:
    """Writes tokenizer.json and the files beside it; each appears whole.

    Files of another kind of tokenizer, which the folder held before, are removed.

    Args:
      definition: content of tokenizer.json.
      special_tokens: their names by role.
      spiece: the SentencePiece model that it was converted from.

    """
    files: dict[str, bytes] = {
        "tokenizer.json": as_json(
            {**definition, "post_processor": post_processor(special_tokens, special_ids)}
        ),
        "tokenizer_config.json": as_json(transformers_config(definition, special_tokens)),
        "special_tokens_map.json": as_json(
            {f"{role}_token": special_tokens[role] for role in ROLES}
        ),
    }
    vocab = definition["model"]["vocab"]
    if definition["model"]["type"] == "WordPiece":
        lines = sorted(vocab, key=vocab.__getitem__)
        files["vocab.txt"] = "".join(f"{token}\n" for token in lines).encode("utf-8")
        added = {
            token["content"]: token["id"]
            for token in definition["added_tokens"]
            if token["content"] not in vocab
        }
        if added:
            files[ADDED_TOKENS_FILE] = as_json(added)
    if spiece is not None:
        files["spiece.model"] = spiece
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        temporary = folder / f".{name}.tmp"
        temporary.write_bytes(content)
        os.replace(temporary, folder / name)
    for name in {"vocab.txt", "spiece.model", ADDED_TOKENS_FILE} - files.keys():
        (folder / name).unlink(missing_ok=True)
