"""Model folders, written whole or not at all, and the tokenizer files in them."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from electra_jax.errors import UserError
from electra_jax.interop.formats.model_card import CARD
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

log = logging.getLogger(__name__)

CONFIG = "config.json"
HEADS_FILE, ENCODER_FOLDER = "heads.safetensors", "encoder"  # where transformers has no class
ADAPTER_FILES = ("adapter_config.json", "adapter.safetensors")
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
# The files of a model folder; a folder with any other file in it is never replaced.
_REPLACEABLE = {
    CONFIG,
    "model.safetensors",
    HEADS_FILE,
    ENCODER_FOLDER,
    CARD,
    *ADAPTER_FILES,
    *TOKENIZER_FILES,
}


@contextmanager
def new_folder(target: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes `target` if the block ends without an error.

    A `target` that exists and is not empty is a `UserError`; with `overwrite`, one that
    holds only files of a model is replaced at the end.
    """
    final = Path(target)
    if final.exists():
        present = {f.name for f in final.iterdir()} if final.is_dir() else {final.name}
        if present and not (overwrite and final.is_dir() and present <= _REPLACEABLE):
            raise UserError(f"{final}: exists and is not empty: name another folder or remove it")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    except OSError as error:
        raise UserError(f"cannot write {final}: {error.strerror}") from error
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
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    token_types: bool = True,
    max_length: int | None = None,
    do_lower_case: bool | None = None,
) -> None:
    """Copies a folder's tokenizer files into `target` (made where absent), replacing those there.

    A folder with a bare `vocab.txt` or `spiece.model` gets the files that `transformers` reads as
    well (`do_lower_case` is a bare vocabulary's). Without `token_types`, `transformers` makes no
    token_type_ids; `max_length` is its limit where the files have none.
    """
    present = [name for name in TOKENIZER_FILES if (Path(source) / name).is_file()]
    if not present:
        raise UserError(f"{source}: no tokenizer files ({', '.join(TOKENIZER_FILES[:3])}, …)")
    Path(target).mkdir(parents=True, exist_ok=True)
    for name in present:
        shutil.copyfile(Path(source) / name, Path(target) / name)
    if not {"tokenizer.json", "tokenizer_config.json"} <= set(present):
        load_tokenizer(source, do_lower_case=do_lower_case).save(target)
    file = Path(target) / "tokenizer_config.json"
    settings = read_json(file)
    if not token_types:
        settings["model_input_names"] = ["input_ids", "attention_mask"]
    if max_length is not None:
        settings.setdefault("model_max_length", max_length)
    write_json(file, settings)


def special_ids(folder: str | os.PathLike[str] | None) -> dict[str, int]:
    """{"pad": id, …} of the folder's tokenizer; empty where there is no tokenizer."""
    if folder is None or tokenizer_in(Path(folder)) is None:
        return {}
    return dataclasses.asdict(load_tokenizer(folder).special_ids)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; anything else is a `UserError`."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not readable as JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected a JSON object")
    return content


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Writes an object as indented JSON."""
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def tokenizer_size(folder: Path) -> int | None:
    """The largest id of the vocabulary beside a model, plus 1; None where there is no tokenizer, or
    none that this library reads. Ids of added_tokens.json count in any case: their rows are no
    padding.
    """
    if tokenizer_in(folder) is None:
        return None
    file = folder / "added_tokens.json"
    added = read_json(file).values() if file.is_file() else ()
    try:
        size = load_tokenizer(folder).vocab_size
    except UserError as error:
        log.warning("%s: its tokenizer is not read here (%s)", folder, error)
        return None
    return max([size, *(number + 1 for number in added if isinstance(number, int))])
