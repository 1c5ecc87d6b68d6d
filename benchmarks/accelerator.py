"""Everything about one accelerator in one call of four minutes: is it right there, how fast is it.

    python benchmarks/accelerator.py --prepare --input 'corpus/*.txt'     # anywhere; < 60 MB
    python benchmarks/accelerator.py --output=results/                    # on the accelerator
    python benchmarks/accelerator.py --tiny                               # try it: CPU

`--prepare` makes the inputs: rows of real text of 128 and 512 tokens, one document in a row, and
of 512 tokens with documents packed, and the first steps of a small pair as this machine computes
them. Then, in order of importance until `--seconds` are over:

1. the checks of `accelerator_checks.py`, and a resumed run beside one that was not stopped, bit
   for bit, with XLA's deterministic operations and without;
2. base at length 512, small at 128, large at 512: bf16, loader on, attention dropout 0 with cuDNN's
   attention, in turns with PyTorch (`torch.compile`, bf16; `peers.py`);
3. base by the published recipe (attention dropout .1, XLA's attention), over packed rows, whose
   mask cuDNN reads as a bias, with layers unrolled, and with Triton's matrix products tried.

Compiling takes longer than measuring, so checks and contestants compile beside each other, each in
a process of its own; when all are ready, or 70 % of the time is over, the contestants run alone, in
turns. XLA's products are cuBLAS's unless said otherwise: trying Triton's takes minutes of
compiling. Every result is printed and written as it comes; the last line is one JSON object. Needs
neither TensorFlow nor ml_collections.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FOLDER_BYTES = 19_000_000  # of each of the three rows folders
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
PARTS = ("checks", "speed", "variants")
CUBLAS = "--xla_gpu_enable_triton_gemm=false"
NO_SEARCH = f"{CUBLAS} --xla_gpu_autotune_level=0"  # each product by cuBLAS's own first choice

# Rows folder → length, most documents in a row.
INPUTS: dict[str, tuple[int, int | None]] = {
    "single-128": (128, 1),
    "single-512": (512, 1),
    "packed-512": (512, None),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is trained: a size over rows, at a batch size. Layers are scanned unless a flag says
    otherwise: unrolled, a deep network takes minutes to compile."""

    size: str
    rows: str
    batch_size: int
    flags: tuple[str, ...] = ()

    def arguments(self, a: argparse.Namespace, fused: bool = True) -> list[str]:
        """The flags of `pretrain_step.py` and `vs_huggingface.py`."""
        found = ["--dtype=bfloat16", f"--seq_len={INPUTS[self.rows][0]}"]
        if a.tiny:
            found += ["--size=small", "--layers=1", "--batch_size=2"]
        else:
            found += [f"--size={self.size}", f"--batch_size={self.batch_size}", *self.flags]
        if fused:
            found += ["--attention_dropout=0", f"--attention={'xla' if a.tiny else 'cudnn'}"]
        return found


CELLS = {
    "base": Cell("base", "single-512", 64),
    "small": Cell("small", "single-128", 512),
    "large": Cell("large", "single-512", 32),
}


def prepare_inputs(inputs: list[str], tokenizer: str | None, output: Path) -> None:
    """Writes the three rows folders from text, with a WordPiece vocabulary of 30,522 unless a
    tokenizer is given, and `golden.json`."""
    import numpy as np
    from workload import SpecialIds, write_rows

    from electra_jax.data.rows import Rows
    from electra_jax.preparation.prepare import prepare
    from electra_jax.text.tokenizers.train import train_vocabulary

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if tokenizer is None:
            train_vocabulary(inputs, "wordpiece", 30522, scratch / "tokenizer")
            tokenizer = str(scratch / "tokenizer")
        for folder, (seq_len, segments) in INPUTS.items():
            prepare(
                inputs,
                tokenizer,
                scratch / folder,
                seq_len=seq_len,
                max_segments=segments,
                eval_fraction=0.0,
            )
            rows = Rows.open(scratch / folder)
            ids = rows.take(np.arange(min(rows.count, FOLDER_BYTES // (2 * seq_len))))
            special = SpecialIds(**rows.special_ids)
            write_rows(output / folder, ids, rows.vocab_size, special, rows.max_segments)
            print(f"{output / folder}: {len(ids):,} rows of {seq_len}")
    record = ["golden", f"--inputs={output}", "--record"]
    subprocess.run([sys.executable, str(HERE / "accelerator_checks.py"), *record], check=True)


class Child:
    """A process that answers in lines of JSON, one when it is ready and one for each request."""

    def __init__(
        self, name: str, script: str, flags: Sequence[str], xla_flags: str, cache: bool = True
    ) -> None:
        """Starts it, and returns at once."""
        self.name, self.flags, self.xla_flags = name, list(flags), xla_flags
        environment = dict(os.environ)
        # The package need not be installed.
        places = [str(HERE.parent), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(places)
        # Many processes hold memory of one accelerator, PyTorch's among them.
        environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        environment["XLA_FLAGS"] = " ".join([environment.get("XLA_FLAGS", ""), xla_flags]).strip()
        if not cache:
            environment["JAX_COMPILATION_CACHE_DIR"] = ""
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), *self.flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )
        self._answers: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """The next object; None where none came in this time. Raises RuntimeError where it
        failed."""
        try:
            found = self._answers.get(timeout=max(0.001, seconds))
        except queue.Empty:
            return None
        if found is None:
            self._process.wait()
            raise RuntimeError(self.complaint() or "it ended without an answer")
        return dict(found)

    def complaint(self) -> str:
        """Its last words on stderr that name an error."""
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        return " | ".join([line for line in lines if "Error" in line][-3:] or lines[-2:])[-1500:]

    def seconds(self, units: int, until: float) -> float:
        """Wall seconds a unit."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{units}\n")
        self._process.stdin.flush()
        found = self.answer(until - time.monotonic())
        if found is None:
            raise RuntimeError("the time ran out")
        return float(found["seconds"]) / units

    def stop(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._answers.put(json.loads(line))
        self._answers.put(None)


class Report:
    """Prints results and writes them as they come."""

    def __init__(self, seconds: float, output: Path | None) -> None:
        self.begin = time.monotonic()
        self.end = self.begin + seconds
        self._file = output / "accelerator.json" if output else None
        self.results: dict[str, Any] = {}
        self.left_out: dict[str, str] = {}

    def say(self, line: str) -> None:
        """Prints a line with the time and the machine's load."""
        load = os.getloadavg()[0]
        print(f"[{time.monotonic() - self.begin:5.0f} s, load {load:4.1f}] {line}", flush=True)

    def add(self, name: str, found: Mapping[str, Any], line: str) -> None:
        """A result, and what of it is printed."""
        self.results[name] = dict(found)
        self.say(f"{name}: {line}")
        self._write()

    def leave_out(self, name: str, why: object) -> None:
        """What was not measured, and why."""
        self.left_out[name] = str(why)
        self.say(f"{name}: left out: {why}")
        self._write()

    def object(self) -> dict[str, Any]:
        """What the last line says."""
        return {"results": self.results, "left_out": self.left_out}

    def _write(self) -> None:
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self.object(), indent=1))


def ours(
    a: argparse.Namespace, name: str, cell: Cell, fused: bool = True, xla_flags: str = ""
) -> Job:
    """The library's step over rows, with its loader."""
    flags = ["--serve=ours", f"--inputs={a.inputs / cell.rows}", "--", *cell.arguments(a, fused)]
    return Job(name, lambda: Child(name, "accelerator.py", flags, xla_flags))


def peer(a: argparse.Namespace, name: str, cell: Cell) -> Job:
    """PyTorch's step over resident full rows."""
    variant = "eager" if a.tiny else "compile"
    flags = [f"--serve={variant}", "--", *cell.arguments(a)]
    return Job(name, lambda: Child(name, "accelerator.py", flags, ""))


def serve(a: argparse.Namespace, flags: list[str]) -> None:
    """A contestant's process: says that it is compiled, then answers numbers of steps with the
    seconds they took."""
    sys.path.insert(0, str(HERE))
    described: dict[str, Any] = {}
    if a.serve == "ours":
        import pretrain_step
        from workload import TrainingStep, machine, mask_prob_of, pair_of, peak_flops, prepare_host

        from electra_jax.data.batches import train_batches
        from electra_jax.data.rows import Rows
        from electra_jax.flops import train_flops_per_token

        b = pretrain_step.parser().parse_args(flags)
        prepare_host()
        rows = Rows.open(a.inputs)
        pair = pair_of(b)
        if rows.vocab_size != pair.discriminator.vocab_size or rows.special_ids["pad"]:
            raise SystemExit(f"{a.inputs}: the inputs have another vocabulary than the sizes")
        step = TrainingStep(pair, b.batch_size, rows.seq_len, mask_prob_of(b), rows)
        batches: Any = train_batches(rows, seed=0, batch_size=b.batch_size)
        full, context = pretrain_step.row_fill(rows)
        described = {
            "tokens_per_step": b.batch_size * rows.seq_len * full,
            "flops_per_token": train_flops_per_token(pair, rows.seq_len, mask_prob_of(b), context),
            "peak_flops": peak_flops(b.dtype)[0],
            "compile_seconds": step.compile_seconds,
            "scratch_bytes": step.scratch_bytes,
            "batch_size": b.batch_size,
            "fill": full,
            "machine": machine(),
        }

        def work(units: int) -> None:
            step.seconds(batches, units)
    else:
        import torch
        import transformers
        import vs_huggingface

        b = vs_huggingface.parser().parse_args(flags)
        work = vs_huggingface.contestant(b, a.serve)  # type: ignore[assignment]
        work(1)  # compiles
        described = {"torch": torch.__version__, "transformers": transformers.__version__}
        described["batch_size"] = b.batch_size
        if torch.cuda.is_available():
            described["peak_bytes"] = torch.cuda.max_memory_allocated()
            torch.cuda.empty_cache()
    print(json.dumps(described), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        work(int(line))
        print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)


def in_turns(
    a: argparse.Namespace,
    report: Report,
    contestants: list[tuple[Child, dict[str, Any]]],
    cell: Cell,
) -> None:
    """Measures by turns those that are compiled, and ends them; the first is ours."""
    rounds: dict[str, list[float]] = {child.name: [] for child, _ in contestants}
    left = list(contestants)
    count, units, warmup = (1, 1, 1) if a.tiny else (a.rounds, a.steps, 5)
    for number in range(-1, count):
        for child, about in list(left):
            try:
                seconds = child.seconds(warmup if number < 0 else units, report.end)
            except (RuntimeError, OSError) as error:
                report.leave_out(child.name, error)
                left.remove((child, about))
                continue
            if number >= 0:
                rounds[child.name].append(seconds)
    first = contestants[0][0].name
    for child, about in left:
        child.stop()
        seconds = statistics.median(rounds[child.name])
        found = {"step_seconds": seconds, "rounds": rounds[child.name], **about}
        line = f"{seconds * 1e3:.2f} ms a step"
        if "tokens_per_step" in about:
            found["tokens_per_second"] = about["tokens_per_step"] / seconds
            rate = found["tokens_per_second"] * about["flops_per_token"]
            found["mfu"] = rate / about["peak_flops"]
            line += f", {found['tokens_per_second']:,.0f} tokens/s, MFU {found['mfu']:.1%}"
            line += f", compiled in {about['compile_seconds']:.0f} s"
        elif rounds.get(first):
            tokens = about["batch_size"] * INPUTS[cell.rows][0]
            each = sorted(p / o for p, o in zip(rounds[child.name], rounds[first], strict=False))
            found["ratio"] = [statistics.median(each), each[0], each[-1]]
            line += f", {tokens / seconds:,.0f} tokens/s, {found['ratio'][0]:.2f} × our time"
        found |= {"flags": child.flags, "xla_flags": child.xla_flags}
        report.add(child.name, found, line)


@dataclasses.dataclass
class Job:
    """A process to be started, and what becomes of its first answer (a contestant's: it waits)."""

    name: str
    start: Callable[[], Child]
    then: Callable[[dict[str, Any]], list[Job]] | None = None


def compile_all(report: Report, jobs: list[Job], limit: int, until: float) -> dict[str, Any]:
    """Runs checks and compiles contestants, `limit` at a time, in their order; the contestants
    that are ready, by name."""
    pending, running, ready = list(jobs), [], {}
    while (pending or running) and time.monotonic() < until:
        while pending and len(running) < limit:
            job = pending.pop(0)
            running.append((job, job.start()))
        for job, child in list(running):
            try:
                found = child.answer(0.02)
            except RuntimeError as error:
                report.leave_out(job.name, error)
                running.remove((job, child))
                continue
            if found is None:
                continue
            running.remove((job, child))
            if job.then is None:
                report.say(f"{job.name}: compiled")
                ready[job.name] = child, found
            else:
                pending = job.then(found) + pending
    for job, child in running:
        report.leave_out(job.name, f"the time ran out; {child.complaint()}")
        child.stop()
    for job in pending:
        report.leave_out(job.name, "no time left")
    return ready


def checks(a: argparse.Namespace, report: Report, scratch: Path) -> list[Job]:
    """The processes of `accelerator_checks.py`."""
    flags = [f"--inputs={a.inputs}", *(["--tiny"] if a.tiny else [])]

    def job(name: str, flags: list[str], then: Any, xla_flags: str, **options: Any) -> Job:
        script = "accelerator_checks.py"
        return Job(name, lambda: Child(name, script, flags, xla_flags, **options), then)

    def judged(name: str, found: dict[str, Any]) -> list[Job]:
        numbers = {n: v for n, v in found.items() if isinstance(v, float)}
        norms = found.get("relative_norms", {})
        numbers |= {path: each["gradient"] for path, each in norms.items()}
        line = ", ".join(f"{n} {v:.1e}" for n, v in numbers.items())
        report.add(name, found, f"{'ok' if found['ok'] else 'NOT as expected'}; {line}")
        return []

    def resumed(attention: str, xla_flags: str, title: str) -> list[Job]:
        done: dict[str, dict[str, Any]] = {}
        name = f"resume, {attention} attention, {title}"

        def run(part: str, *more: str) -> Job:
            folder = "whole" if part == "whole" else "parts"
            workdir = scratch / f"{attention}-{title}" / folder
            these = ["resume", f"--inputs={a.inputs}", f"--attention={attention}", *more]
            these += [f"--workdir={workdir}"]
            if a.tiny:
                these += ["--steps=4", "--batch_size=2"]
            # No cache: a resumed run compiles again, as it would on another machine.
            return job(f"{name}: {part}", these, lambda f: then(part, f), xla_flags, cache=False)

        def then(part: str, found: dict[str, Any]) -> list[Job]:
            done[part] = found
            if "resumed" in done:
                same = done["resumed"]["digest"] == done["whole"]["digest"]
                line = "identical" if same else "DIFFERENT"
                report.add(name, {"identical": same, **done}, line)
            elif len(done) == 2:
                return [run("resumed")]
            return []

        return [run("whole"), run("stopped", "--stop")]

    found = [job("golden", ["golden", *flags], lambda f: judged("golden", f), CUBLAS)]
    for block in ("bert", "modern"):
        name, these = f"paths, {block} blocks", ["paths", *flags, f"--block={block}"]
        found.append(job(name, these, lambda f, name=name: judged(name, f), CUBLAS))
    if a.tiny:
        return [*found, *resumed("xla", "", "default operations")]
    found += resumed("cudnn", DETERMINISTIC, "deterministic operations")
    found += resumed("cudnn", CUBLAS, "default operations")
    return found + resumed("xla", DETERMINISTIC, "deterministic operations")


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """Everything, in order of importance."""
    report = Report(a.seconds, a.output)
    cells = list(CELLS.items()) if "speed" in a.parts else []
    groups: list[tuple[list[Job], Cell]] = [
        ([ours(a, n, cell, xla_flags=CUBLAS), peer(a, f"{n}, PyTorch", cell)], cell)
        for n, cell in cells[: 1 if a.tiny else None]
    ]
    base = CELLS["base"]
    packed = dataclasses.replace(base, rows="packed-512")
    more: list[tuple[list[Job], Cell]] = []
    if "variants" in a.parts:
        name = "base, published recipe"
        more += [([ours(a, name, base, fused=False, xla_flags=CUBLAS)], base)]
        more += [([ours(a, "base, packed rows", packed, xla_flags=CUBLAS)], packed)]
        unrolled = dataclasses.replace(base, flags=("--unroll",))
        more += [([ours(a, "base, unrolled", unrolled, xla_flags=CUBLAS)], unrolled)]
        name = "base, unrolled, no search among algorithms"
        more += [([ours(a, name, unrolled, xla_flags=NO_SEARCH)], unrolled)]
        more += [([ours(a, "base, Triton products tried", base)], base)]
        more = more[: 1 if a.tiny else None]
    with tempfile.TemporaryDirectory() as scratch:
        tests = checks(a, report, Path(scratch)) if "checks" in a.parts else []
        jobs = [job for contestants, _ in groups for job in contestants]
        jobs = [*jobs[:2], *tests[:3], *jobs[2:], *tests[3:]]  # what takes long is not last
        jobs += [job for contestants, _ in more for job in contestants]
        if a.only:
            named = [job for glob in a.only for job in jobs if fnmatch(job.name, glob)]
            jobs = list({job.name: job for job in named}.values())
        until = report.begin + (a.measure_at or 0.7 * a.seconds)
        ready = compile_all(report, jobs, 1 if a.tiny else a.processes, until)
    if a.measure_at and ready:
        time.sleep(max(0.0, until - time.monotonic()))
    for contestants, cell in groups + more:
        if children := [ready[job.name] for job in contestants if job.name in ready]:
            in_turns(a, report, children, cell)
    return report.object()


def main() -> None:
    """Prepares, measures, or is a contestant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--input", nargs="+", metavar="GLOB")
    parser.add_argument("--tokenizer", metavar="DIR")
    parser.add_argument("--inputs", type=Path, default=Path("accelerator_inputs"))
    parser.add_argument("--seconds", type=float, default=225, help="the budget")
    parser.add_argument(
        "--output", type=Path, help="a folder: accelerator.json, written as it goes"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--steps", type=int, default=10, help="steps in each turn")
    parser.add_argument("--tiny", action="store_true", help="one layer of small, batches of two")
    parser.add_argument("--processes", type=int, default=4, help="that compile at a time")
    parser.add_argument(
        "--measure_at", type=float, help="second from which the accelerator is free to be timed"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--only", nargs="+", metavar="GLOB", help="what of these parts, in this order, by its name"
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("flags", nargs="*", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.serve:
        serve(a, a.flags)
    elif a.prepare:
        if not a.input:
            parser.error("--prepare needs --input")
        prepare_inputs(a.input, a.tokenizer, a.inputs)
    else:
        print(json.dumps(measure(a)))


if __name__ == "__main__":
    main()
