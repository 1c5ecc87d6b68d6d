"""Folders that appear whole or not at all, and the tokenizer files that travel with a model."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from electra_jax.errors import UserError

CONFIG = "config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
)
# What a model folder of ours may hold; a folder with anything else in it is never replaced.
_REPLACEABLE = {CONFIG, "model.safetensors", "encoder", *TOKENIZER_FILES}


@contextmanager
def new_folder(target: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """A scratch folder beside `target` that becomes `target` when the block ends without an error.

    A `target` that exists and is not empty is a `UserError`; with `overwrite` one that holds
    nothing but a model's files is replaced at the end.
    """
    final = Path(target)
    if final.exists():
        present = {f.name for f in final.iterdir()} if final.is_dir() else {final.name}
        if present and not (overwrite and final.is_dir() and present <= _REPLACEABLE):
            raise UserError(f"{final}: exists and is not empty: name another folder or remove it")
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        yield scratch
        scratch.chmod(0o777 & ~_umask())
        if final.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{final.name}-old-", dir=final.parent))
            os.replace(final, old / "folder")
            os.replace(scratch, final)
            shutil.rmtree(old)
        else:
            os.replace(scratch, final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _umask() -> int:
    """The process's umask (mkdtemp ignores it, a model folder should not)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def tokenizer_in(folder: Path) -> Path | None:
    """The folder itself where it holds a tokenizer."""
    sources = ("tokenizer.json", "vocab.txt", "spiece.model")
    return folder if any((folder / name).is_file() for name in sources) else None


def copy_tokenizer(
    source: str | os.PathLike[str], target: str | os.PathLike[str], token_types: bool = True
) -> None:
    """Copies a folder's tokenizer files into `target` (made where absent), replacing those there.

    Without `token_types` the copy tells `transformers` not to make token_type_ids.
    """
    present = [name for name in TOKENIZER_FILES if (Path(source) / name).is_file()]
    if not present:
        raise UserError(f"{source}: no tokenizer files ({', '.join(TOKENIZER_FILES[:3])}, …)")
    Path(target).mkdir(parents=True, exist_ok=True)
    for name in present:
        shutil.copyfile(Path(source) / name, Path(target) / name)
    settings = Path(target) / "tokenizer_config.json"
    if not token_types and settings.is_file():
        content = json.loads(settings.read_text("utf-8"))
        content["model_input_names"] = ["input_ids", "attention_mask"]
        settings.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def special_ids(folder: str | os.PathLike[str] | None) -> dict[str, int]:
    """{"pad": id, …} as tokenizer.json and tokenizer_config.json in the folder state it."""
    if folder is None or not (Path(folder) / "tokenizer.json").is_file():
        return {}
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    settings = Path(folder) / "tokenizer_config.json"
    stated = json.loads(settings.read_text("utf-8")) if settings.is_file() else {}
    found = {}
    for name in ("pad", "unk", "cls", "sep", "mask"):
        token = stated.get(f"{name}_token") or f"[{name.upper()}]"
        text = token["content"] if isinstance(token, dict) else token
        number = tokenizer.token_to_id(text)
        if number is not None:
            found[name] = number
    return found
