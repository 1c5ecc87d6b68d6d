"""Tokenizers by their names on the Hugging Face Hub (extra `hub`): no more than their files."""

from __future__ import annotations

import re
from pathlib import Path

from electra_jax.errors import UserError

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "*.model",
)

_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_FILE_ENDINGS = (".txt", ".json", ".model")


def is_hub_name(path: str) -> bool:
    """Whether a path that does not exist may be the name of a model on the Hub: `name` or
    `organisation/name`, where there is no folder `organisation` here."""
    if not _NAME.fullmatch(path) or path.endswith(_FILE_ENDINGS):
        return False
    return "/" not in path or not Path(path).parent.exists()


def downloaded(name: str) -> Path:
    """The folder to which the tokenizer's files of a model on the Hub are downloaded.

    Raises:
      UserError: huggingface_hub is not installed, or there is no such model.
    """
    missing = f"no tokenizer at {name}: no such file or folder here"
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"{missing}; to fetch it from the Hub: pip install 'electra_jax[hub]'"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise UserError(f"{missing}, and not found on the Hub ({reason})") from None
