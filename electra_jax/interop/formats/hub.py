"""Names on the Hugging Face Hub, where a path could stand (extra `hub`)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from electra_jax.errors import UserError


def local_path(path: str | os.PathLike[str]) -> Path:
    """The path itself; for "organisation/name" where no such path exists, the downloaded snapshot's
    folder in the Hub's cache.
    """
    given = Path(path).expanduser()
    if given.exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)) or given.parent.exists():
        return given
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"{path}: no such path here; to fetch it from the Hub: pip install 'electra_jax[hub]'"
        ) from None
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors", "*.bin"]
    try:
        return Path(snapshot_download(str(path), allow_patterns=patterns))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: no such path here, and not found on the Hub ({reason})") from None
