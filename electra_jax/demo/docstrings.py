"""Real technical English without a download: the docstrings of the installed Python packages.

Source files are parsed with `ast`, nothing is imported. A document is a module. Files are taken in
the order of a hash of their names, so that any budget takes a fair sample, and the same one every
time.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import logging
import multiprocessing
import os
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from electra_jax.errors import UserError

log = logging.getLogger(__name__)

SHORTEST = 200  # characters of a document worth keeping
TOO_LITTLE = 1_000_000  # characters, of which nothing comes


def source_files() -> list[tuple[str, str]]:
    """(module-like name, path) of every installed .py file, in an order that is the same on every
    run."""
    roots = sorted({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
    found: dict[str, str] = {}
    for root in roots:
        for folder, folders, files in os.walk(root):
            inside = os.path.relpath(folder, root)
            folders[:] = sorted(
                f for f in folders if f not in ("__pycache__", "site-packages", "test", "tests")
            )
            for file in files:
                if file.endswith(".py"):
                    found[os.path.normpath(os.path.join(inside, file))] = os.path.join(folder, file)
    return sorted(found.items(), key=lambda item: hashlib.sha256(item[0].encode()).digest())


def docstrings(path: str) -> list[str]:
    """The docstrings of a source file: module, classes and functions in order; [] where it does
    not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=True)
            if text:
                texts.append(inspect.cleandoc(text))
    return texts


def _read(item: tuple[str, str]) -> tuple[str, list[str]]:
    return item[0], docstrings(item[1])


def documents(workers: int) -> Iterator[tuple[str, str]]:
    """(name, text) of modules; a docstring that was seen before is left out (packages copy each
    other's)."""
    seen: set[bytes] = set()
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        for name, texts in pool.imap(_read, source_files(), chunksize=32):
            fresh = []
            for text in texts:
                digest = hashlib.md5(text.encode("utf-8", "replace")).digest()
                if digest not in seen:
                    seen.add(digest)
                    fresh.append(text)
            text = "\n".join(fresh).encode("utf-8", "ignore").decode("utf-8")
            if len(text) >= SHORTEST:
                yield name, text


def write_docstrings(path: Path, characters: int, workers: int | None = None) -> dict[str, int]:
    """Writes about `characters` characters of documents to a .jsonl file; returns {documents,
    characters}. Logs a warning where less than nine tenths of them are installed, and raises
    `UserError` where there is too little for anything (`TOO_LITTLE`)."""
    workers = workers or max(
        1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    temporary = path.with_name(path.name + ".partial")
    count = total = 0
    with open(temporary, "w", encoding="utf-8") as file:
        for name, text in documents(workers):
            file.write(json.dumps({"text": text, "source": name}, ensure_ascii=False) + "\n")
            count, total = count + 1, total + len(text)
            if total >= characters:
                break
    if total < min(characters, TOO_LITTLE):
        raise UserError(
            f"only {total:,} characters of docstrings are installed here: `electra-jax pretrain` "
            "on text of your own"
        )
    os.replace(temporary, path)
    if total < 0.9 * characters:
        log.warning(
            "%s: %s characters of docstrings in %s modules, not the %s asked for: no more are "
            "installed here",
            path, f"{total:,}", f"{count:,}", f"{characters:,}",
        )  # fmt: skip
    return {"documents": count, "characters": total}
