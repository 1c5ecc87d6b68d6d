"""The Hugging Face Hub (extra `hub`): names where a path could stand, and uploads."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.interop.formats.model_card import CARD, is_generated, read_card

PREFIX = "hub:"  # of a destination
# A new repository's own file.
_OF_THE_HUB = ".gitattributes"


def local_path(path: str | os.PathLike[str]) -> Path:
    """The path itself; for "organisation/name" where no such path exists, the downloaded snapshot's
    folder in the Hub's cache.
    """
    given = Path(path).expanduser()
    if given.exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)) or given.parent.exists():
        return given
    hub = _library(f"{path}: no such path here; to fetch it from the Hub")
    patterns = [CARD, "*.json", "*.txt", "*.model", "*.safetensors", "*.bin"]
    try:
        return Path(hub.snapshot_download(str(path), allow_patterns=patterns))
    except (OSError, ValueError) as error:
        reason = _first_line(error)
        raise UserError(f"{path}: no such path here, and not found on the Hub ({reason})") from None


def name_on_hub(destination: str | os.PathLike[str]) -> str | None:
    """NAME of a destination hub:NAME ("organisation/name", or "name" in one's own account); None of
    a path. Raises `UserError` for a name that the Hub cannot have."""
    text = os.fspath(destination)
    if not text.startswith(PREFIX):
        return None
    name = text.removeprefix(PREFIX)
    if not re.fullmatch(r"([\w.-]+/)?[\w.-]+", name):
        raise UserError(f"{text}: write hub:ORGANISATION/NAME, or hub:NAME for your own account")
    return name


@contextmanager
def uploaded(name: str, private: bool) -> Iterator[Path]:
    """A temporary folder that is uploaded as the model `name` when the block ends without an error.

    Raises `UserError` before the block where no token or library is there; after it where the Hub
    refuses, the model holds other files than the folder, or it is public and `private` is wanted.
    A card that a person wrote there stays.
    """
    hub = _library(f"{PREFIX}{name}: to upload to the Hub")
    if not hub.get_token():
        raise UserError(
            f"{PREFIX}{name}: no token for the Hub: run `hf auth login`, or set HF_TOKEN to one "
            "that may write"
        )
    with tempfile.TemporaryDirectory(prefix="electra_jax-") as scratch:
        folder = Path(scratch, "model")
        folder.mkdir()
        yield folder
        try:
            _upload(hub.HfApi(), folder, name, private, Path(scratch))
        except UserError:
            raise
        except Exception as error:  # of the library's HTTP client, which changes with its versions
            raise UserError(f"{PREFIX}{name}: not uploaded: {_first_line(error)}") from error


def _upload(api: Any, folder: Path, name: str, private: bool, scratch: Path) -> None:
    full = api.create_repo(name, private=private or None, exist_ok=True).repo_id
    found = api.repo_info(full)
    if private and not found.private:
        raise UserError(f"{PREFIX}{full} exists and is public: make it private there, or rename")
    there = {sibling.rfilename for sibling in found.siblings or ()}
    ours = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    if others := sorted(there - ours - {_OF_THE_HUB, CARD}):
        raise UserError(
            f"{PREFIX}{full} holds other files ({', '.join(others[:5])}"
            f"{', …' if len(others) > 5 else ''}): remove them there, or name another"
        )
    kept = None
    if CARD in there:
        kept = read_card(Path(api.hf_hub_download(full, CARD, local_dir=scratch)).parent)
    by_hand = kept is not None and not is_generated(kept)
    api.upload_folder(
        repo_id=full,
        folder_path=folder,
        commit_message="Upload by electra_jax",
        ignore_patterns=[CARD] if by_hand else None,
    )


def _library(purpose: str) -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(f"{purpose}: pip install 'electra_jax[hub]'") from None
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line), type(error).__name__)
