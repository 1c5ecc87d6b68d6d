"""A vocabulary that comes without settings, with those that its user gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

from electra_jax.text.tokenizers.tokenizer import load_tokenizer
from electra_jax.text.tokenizers.tokenizer_json import read_json

_copies: list[tempfile.TemporaryDirectory[str]] = []  # deleted when the program ends


def with_case(folder: Path, cased: bool) -> Path:
    """A tokenizer folder that states how case is treated.

    It is `folder` itself where its files state it; else a copy that keeps case if `cased`, and
    lower-cases if not. The copy is there until the program ends.

    Raises:
      UserError: `cased`, but the files of the folder state otherwise.
    """
    if _states_case(folder):
        if cased:
            load_tokenizer(folder, do_lower_case=False)
        return folder
    tokenizer = load_tokenizer(folder, do_lower_case=not cased)
    copy = tempfile.TemporaryDirectory(prefix="electra_jax-tokenizer-")
    _copies.append(copy)
    tokenizer.save(copy.name)
    return Path(copy.name)


def _states_case(folder: Path) -> bool:
    if (folder / "tokenizer.json").exists() or any(folder.glob("*.model")):
        return True
    return read_json(folder / "tokenizer_config.json").get("do_lower_case") is not None
