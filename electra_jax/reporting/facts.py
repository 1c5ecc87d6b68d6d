"""What the page says of a run besides its figures: its data, its commands and dates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from electra_jax.data.mixture import parse_shares
from electra_jax.data.row_format import MANIFEST
from electra_jax.reporting.commands import read_starts
from electra_jax.reporting.markup import escaped, table_markup
from electra_jax.reporting.runs import ReportedRun, section


def facts(run: ReportedRun) -> str:
    """The tables "Data" and "Commands", each where something is known."""
    parts = []
    if rows := data_facts(run):
        parts.append(f"<h2>Data</h2>{table_markup(['', ''], rows, {1})}")
    if starts := read_starts(run.workdir):
        lines = "\n".join(
            f"{start.time.replace('T', ' ')}  {start.command or 'from Python'}"
            for start in starts[-8:]
        )
        earlier = f"… and {len(starts) - 8} earlier starts\n" if len(starts) > 8 else ""
        text = escaped(earlier + lines)
        parts.append(f'<h2>Commands</h2><div class="card block"><pre>{text}</pre></div>')
    return "".join(parts)


def data_facts(run: ReportedRun) -> list[list[str]]:
    """[name, value] of what was trained on: of the rows folder where it is still there, else of the
    configuration; of a fine-tuning run its examples and labels."""
    data = section(run.config, "data")
    path = str(data.get("path"))
    mixture = parse_shares(path) if "fingerprint" in data else None  # of a pretraining run
    found = _of_mixture(mixture, data) if mixture else _of_rows(_manifest(data))
    if "examples" in data:
        found.append(["training examples", f"{data['examples']:,}"])
    if labels := data.get("labels"):
        names = ", ".join(map(str, labels[:12])) + (" …" if len(labels) > 12 else "")
        found.append([f"{len(labels)} labels", names])
    if not found and (vocabulary := section(run.config, "model").get("vocab_size")):
        found.append(["vocabulary", f"{vocabulary:,} tokens"])
    return found


def _manifest(data: Mapping[str, Any]) -> dict[str, Any]:
    """rows.json of the configuration's rows, {} where it cannot be read or is of other rows."""
    path = data.get("path")
    if not isinstance(path, str):
        return {}
    try:
        header = json.loads((Path(path) / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    same = isinstance(header, dict) and data.get("fingerprint") in (None, header.get("fingerprint"))
    return header if same else {}


def _of_mixture(shares: Mapping[str, float], data: Mapping[str, Any]) -> list[list[str]]:
    whole = sum(shares.values())
    found = [[f"{share / whole:.1%} of a batch's rows", path] for path, share in shares.items()]
    return [*found, ["training", f"{data['rows']:,} rows of {data['seq_len']}"]]


def _of_rows(header: Mapping[str, Any]) -> list[list[str]]:
    found = []
    names = {"train": "training", "eval": "held out"}
    for split, entry in header.get("splits", {}).items():
        counts = (("documents", ""), ("tokens", ""), ("rows", f" of {header.get('seq_len')}"))
        parts = [f"{entry[key]:,} {key}{more}" for key, more in counts if key in entry]
        found.append([names.get(split, split), ", ".join(parts)])
    if "vocab_size" in header:
        found.append(["vocabulary", f"{header['vocab_size']:,} tokens"])
    statistics = header.get("statistics", {})
    if "unknown_rate" in statistics:
        found.append(["unknown tokens", f"{100 * statistics['unknown_rate']:.2f} %"])
    if "fill_rate" in statistics:
        found.append(["row positions filled", f"{100 * statistics['fill_rate']:.1f} %"])
    return found
