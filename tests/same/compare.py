"""Are two output folders the same, bit for bit? Each function returns what differs, as lines.

Left out: seconds and rates, pages for people (report.*) and what they alone read, what names the
machine (the configuration of a work folder, which is compared by resuming it), locks.
"""

import difflib
import gzip
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_TIMES = ("seconds", "tokens_per_second")
_PAGES = r"report\.(html|json)|metric_titles\.json|commands\.jsonl|README\.md"
_SKIPPED = re.compile(rf"(.*/)?(\.lock|{_PAGES})|(programs|stopped)/.*|log\.txt")
_ARRAYS = "_CHECKPOINT_METADATA"  # of a checkpoint's files, the one that holds all digests
_NAME = re.compile(r"%[\w.\-]+")


def differences(old: Path, new: Path, what: str = "") -> list[str]:
    """Of two folders: the programs in `programs/` first, which tell why, then file by file."""
    left, right = _files(old), _files(new)
    found = [f"{what}{name} is missing in the new output" for name in left if name not in right]
    found += [f"{what}{name} is new" for name in right if name not in left]
    for name in left:
        if name in right:
            rule = _rule(name, old)
            found += [f"{what}{name}: {line}" for line in rule(left[name], right[name])]
    return program_differences(old / "programs", new / "programs") + found


def _files(folder: Path) -> dict[str, Path]:
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not file.is_file() or _SKIPPED.fullmatch(name):
            continue
        if "checkpoints/" in name and file.name != _ARRAYS:
            continue  # the same arrays may be cut into other files
        if file.name == "config.json" and (file.parent / "metrics.jsonl").exists():
            continue
        found[name] = file
    return found


def _rule(name: str, folder: Path) -> Callable[[Path, Path], list[str]]:
    last = name.rsplit("/", 1)[-1]
    if last == _ARRAYS:
        return checkpoint_differences
    if last == "metrics.jsonl":
        return metric_differences
    if last.endswith(".safetensors"):
        return tensor_differences
    if last.endswith(".json"):
        return json_differences
    if last.endswith(".jsonl"):
        return line_differences
    return _bytes


def _bytes(old: Path, new: Path) -> list[str]:
    a, b = old.read_bytes(), new.read_bytes()
    return [] if a == b else [f"other bytes ({len(a)} and {len(b)})"]


def value_differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Of two JSON values, without times; `1` and `1.0` differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found = []
        for key in dict.fromkeys([*old, *new]):
            if key in _TIMES:
                continue
            path = f"{where}.{key}" if where else str(key)
            if key not in new or key not in old:
                found.append(f"{path} {'is missing' if key not in new else 'is new'}")
            else:
                found += value_differences(old[key], new[key], path)
        return found
    both = isinstance(old, list) and isinstance(new, list)
    if both and len(old) == len(new) and any(isinstance(x, Mapping) for x in old):
        pairs = enumerate(zip(old, new, strict=True))
        return [x for i, (a, b) in pairs for x in value_differences(a, b, f"{where}[{i}]")]
    if json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True):
        return []
    return [f"{where}: {_short(old)} → {_short(new)}".removeprefix(": ")]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def json_differences(old: Path, new: Path) -> list[str]:
    """Of two JSON files."""
    return value_differences(*(json.loads(file.read_text("utf-8")) for file in (old, new)))


def line_differences(old: Path, new: Path) -> list[str]:
    """Of two files of JSON lines."""
    rows = [file.read_text("utf-8").splitlines() for file in (old, new)]
    if len(rows[0]) != len(rows[1]):
        return [f"{len(rows[0])} and {len(rows[1])} lines"]
    pairs = enumerate(zip(*rows, strict=True), start=1)
    return [
        f"line {number}: {line}"
        for number, (a, b) in pairs
        for line in value_differences(json.loads(a), json.loads(b))
    ]


def metric_differences(old: Path, new: Path) -> list[str]:
    """Of two metrics.jsonl: the rows in their order, without times."""
    return line_differences(old, new)


def tensor_differences(old: Path, new: Path) -> list[str]:
    """Of two safetensors files: which tensors, by how much; and the bytes of the whole."""
    if old.read_bytes() == new.read_bytes():
        return []
    from safetensors.numpy import load_file

    a, b = load_file(old), load_file(new)
    found = [f"{name} is missing" for name in a if name not in b]
    found += [f"{name} is new" for name in b if name not in a]
    for name in a.keys() & b.keys():
        if (a[name].shape, a[name].dtype) != (b[name].shape, b[name].dtype):
            found.append(f"{name}: {a[name].dtype}{a[name].shape}, {b[name].dtype}{b[name].shape}")
        elif a[name].tobytes() != b[name].tobytes():
            gap = np.abs(a[name].astype(np.float64) - b[name].astype(np.float64)).max()
            found.append(f"{name}: up to {gap:.3g} apart")
    return sorted(found) or ["the tensors are equal and the bytes differ (order or metadata)"]


def checkpoint_differences(old: Path, new: Path) -> list[str]:
    """Of two checkpoints: name, shape, dtype and digest of each array, and what was kept beside."""
    return value_differences(*(_document(file) for file in (old, new)))


def _document(file: Path) -> Any:
    metadata = json.loads(file.read_text("utf-8"))
    return json.loads(metadata["custom_metadata"]["document"])


def normalised(program: str) -> str:
    """The text of an optimised program (HLO) without what the arithmetic does not depend on.

    Removed: the module's name, metadata and tables of source places. Names of instructions,
    computations and arguments are replaced by numbers in the order of their appearance.
    """
    header, _, body = program.partition("\n")
    header = re.sub(r"^HloModule [^,\s]+", "HloModule", header)
    body = re.sub(r"\n(FileNames|FunctionNames|FileLocations|StackFrames)\n(.+\n)*", "\n", body)
    body = re.sub(r', metadata=\{(?:[^{}"]|"(?:\\.|[^"\\])*"|\{[^{}]*\})*\}', "", body)
    lines = [line for line in body.splitlines() if line.strip()]
    numbers: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f"%{len(numbers)}")

    result = [header]
    for line in lines:
        if line.endswith("{"):  # a computation begins: `%name (argument: type, …) -> type {`
            line = re.sub(r"(?<=[(\s])[\w.\-]+: ", "", line)
        result.append(_NAME.sub(number, line))
    return "\n".join(result)


def program_differences(old: Path, new: Path) -> list[str]:
    """Of two folders of programs: those that only one of them has."""
    left, right = ({normalised(t): n for n, t in _programs(folder)} for folder in (old, new))
    missing = [text for text in left if text not in right]
    added = [text for text in right if text not in left]
    found = []
    for text in missing:
        name = left[text].rsplit("-", 1)[0]
        near = [t for t in added if right[t].rsplit("-", 1)[0] == name] or added
        more = f", {_first_change(text, near[0])}" if near else ""
        found.append(f"program {name} is not compiled by new code{more}")
    if len(added) > len(missing):
        names = ", ".join(sorted(right[text].rsplit("-", 1)[0] for text in added))
        found.append(f"only new code compiles {len(added) - len(missing)} of {names}")
    return found


def _programs(folder: Path) -> list[tuple[str, str]]:
    files = sorted(folder.glob("*.txt.gz"))
    return [(file.name, gzip.decompress(file.read_bytes()).decode()) for file in files]


def _first_change(old: str, new: str) -> str:
    """Where two texts part, numbers of names left out so that one instruction more is one line."""
    a, b = ([_NAME.sub("%", line).strip() for line in text.splitlines()] for text in (old, new))
    counts = f"{len(a)} → {len(b)} lines"
    lines = difflib.unified_diff(a, b, n=0, lineterm="")
    changed = [x for x in lines if x[:1] in "+-" and x[:3] not in ("+++", "---")]
    return f"{counts}, {len(changed)} changed: " + " ".join(x[:90] for x in changed[:2])
