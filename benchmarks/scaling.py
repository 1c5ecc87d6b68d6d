"""How cost follows work: tokens/s and memory over batch size, length and depth.

    python benchmarks/scaling.py --size=small --output=scaling.png

One quantity varies at a time, the others stay at `--base` (batch, length; layers: the size's). Each
point is a process of its own, `pretrain_step.py`, so that memory is its own too. A point that does
not fit is a gap. Prints a table, draws the picture (needs matplotlib); the last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def measure(arguments: list[str]) -> dict[str, Any] | None:
    """The last line of one benchmark; None where it failed, most often for memory."""
    command = [sys.executable, str(HERE / "pretrain_step.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1:], file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def sweep(a: argparse.Namespace, passed_on: list[str]) -> list[dict[str, Any]]:
    """All points, printed as they come."""
    base = {"batch_size": a.base[0], "seq_len": a.base[1]}
    axes = {"batch_size": a.batches, "seq_len": a.lengths, "layers": a.layers}
    points = []
    print(f"{'varied':>10} {'value':>6} {'tokens/s':>10} {'MFU':>6} {'ms a step':>10} {'GiB':>6}")
    for axis, values in axes.items():
        for value in values:
            flags = [f"--{k}={v}" for k, v in (base | {axis: value}).items()]
            found = measure([f"--size={a.size}", *flags, *passed_on])
            point: dict[str, Any] = {"axis": axis, "value": value}
            if found is None:
                print(f"{axis:>10} {value:>6} {'-':>10}", flush=True)
            else:
                memory = found.get("peak_device_bytes", found["peak_host_bytes"])
                point |= {k: found[k] for k in ("tokens_per_second", "mfu", "step_seconds")}
                point |= {"memory_bytes": memory, "scratch_bytes": found["scratch_bytes"]}
                print(
                    f"{axis:>10} {value:>6} {point['tokens_per_second']:>10,.0f} "
                    f"{point['mfu']:>6.1%} {point['step_seconds'] * 1e3:>10,.1f} "
                    f"{memory / 2**30:>6.2f}",
                    flush=True,
                )
            points.append(point)
    return points


def draw(points: list[dict[str, Any]], title: str, output: Path) -> None:
    """One column an axis: tokens/s above, memory below."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    axes = list(dict.fromkeys(p["axis"] for p in points))
    figure, cells = pyplot.subplots(2, len(axes), figsize=(4 * len(axes), 6), squeeze=False)
    for column, axis in enumerate(axes):
        mine = [p for p in points if p["axis"] == axis and "tokens_per_second" in p]
        values = [p["value"] for p in mine]
        for row, (key, unit, label) in enumerate(
            (("tokens_per_second", 1e3, "thousand tokens/s"), ("memory_bytes", 2**30, "peak GiB"))
        ):
            cell = cells[row][column]
            cell.plot(values, [p[key] / unit for p in mine], "o-")
            cell.set_xscale("log", base=2)
            cell.set_xticks(values, [str(v) for v in values])
            cell.set_ylim(bottom=0)
            cell.set_xlabel(axis)
            cell.set_ylabel(label if column == 0 else "")
            cell.grid(alpha=0.3)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(output, dpi=120)


def main() -> None:
    """Measures, prints, draws."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Other flags go to pretrain_step.py: --dtype, --unroll, --rounds, --steps, …",
    )
    parser.add_argument("--size", default="small")
    parser.add_argument("--base", type=int, nargs=2, default=[32, 128], metavar=("BATCH", "LENGTH"))
    parser.add_argument("--batches", type=int, nargs="*", default=[8, 16, 32, 64, 128, 256, 512])
    parser.add_argument("--lengths", type=int, nargs="*", default=[64, 128, 256, 512])
    parser.add_argument("--layers", type=int, nargs="*", default=[2, 4, 6, 12, 24])
    parser.add_argument("--output", type=Path, default=Path("scaling.png"))
    a, passed_on = parser.parse_known_args()
    points = sweep(a, passed_on)
    draw(points, f"{a.size} {' '.join(passed_on)}", a.output)
    print(json.dumps({"size": a.size, "base": a.base, "flags": passed_on, "points": points}))


if __name__ == "__main__":
    main()
