"""What a conversion wrote and measured, and the table of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Network:
    """One line of the table: a network that was written. `unmeasured` is the reason why `verify`
    could not compare its logits; empty otherwise."""

    name: str
    kind: str
    folder: Path
    tensors: int
    parameters: int
    difference: float | None = None
    largest: float | None = None
    unmeasured: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of `convert`; `str(report)` is the table it prints."""

    source: str
    target: str
    networks: list[Network]
    ignored: list[str]
    notes: list[str]

    @property
    def unmeasured(self) -> dict[str, str]:
        """{network: reason} of those that `verify` could not compare."""
        return {n.name: n.unmeasured for n in self.networks if n.unmeasured}

    def __str__(self) -> str:
        lines = [f"{self.source} → {self.target}"]
        header = ("network", "kind", "tensors", "parameters", "largest difference of logits")
        rows = [header] + [
            (n.name, n.kind, f"{n.tensors:,}", f"{n.parameters:,}", self._measured(n))
            for n in self.networks
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
        for row in rows:
            cells = [
                text.rjust(width) if i in (2, 3) else text.ljust(width)
                for i, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  " + "  ".join(cells).rstrip())
        lines.append(f"ignored: {', '.join(self.ignored) or 'nothing'}")
        return "\n".join(lines + [f"note: {note}" for note in self.notes])

    def _measured(self, network: Network) -> str:
        if network.difference is None:
            return "not measured" + (f" ({network.unmeasured})" if network.unmeasured else "")
        return f"{network.difference:.1e} (of {network.largest:.3g}), against transformers"
