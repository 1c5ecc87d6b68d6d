"""One side of the comparison: runs command lines of the package in this process and records the
programs that XLA compiled for them.

    python -P driver.py PLAN.json        in the root of a checkout, which is first on PYTHONPATH

It is handed to old and new code alike, so it uses what both have: the command line
(`python -m electra_jax VERB …`) and JAX's own compiler entry, never a module of the package.
"""

import contextlib
import gzip
import hashlib
import json
import os
import runpy
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax._src import compiler
from jaxlib import _hlo

_SMALLEST = 60  # instructions; what is smaller is set-up, a few operations outside of any step
_FEWEST = 5  # arguments; the programs that make fresh parameters have fewer, those of steps more


class Programs:
    """Wraps JAX's compilation: every program of some size is kept as text."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._compile = compiler.compile_or_get_cached
        compiler.compile_or_get_cached = self._recording
        self._options = _hlo.HloPrintOptions()
        self._options.print_metadata = False  # names of operations, files, lines
        self._options.print_large_constants = True

    def _recording(self, *args: Any, **kwargs: Any) -> Any:
        executable = self._compile(*args, **kwargs)
        if self.folder is not None:
            for module in executable.hlo_modules():
                self._keep(module)
        return executable

    def _keep(self, module: Any) -> None:
        text = module.to_string(self._options)
        entry = text[text.index("\nENTRY ") :]
        if text.count(" = ") < _SMALLEST or entry.count(" parameter(") < _FEWEST:
            return
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        file = self.folder / f"{module.name}-{digest}.txt.gz"
        file.write_bytes(gzip.compress(text.encode(), 1, mtime=0))


class StopAfter:
    """Sends this process a SIGTERM when a compiled step has been called so many times: always at
    the same step. (A step is called as `jax.stages.Compiled`; only old code is stopped.)"""

    def __init__(self) -> None:
        self.left = 0
        call = jax.stages.Compiled.__call__

        def counting(compiled: Any, *args: Any, **kwargs: Any) -> Any:
            result = call(compiled, *args, **kwargs)
            if self.left:
                self.left -= 1
                if not self.left:
                    signal.raise_signal(signal.SIGTERM)
            return result

        jax.stages.Compiled.__call__ = counting


@contextlib.contextmanager
def output_to(file: Path) -> Iterator[None]:
    """Both standard streams, of libraries in C++ too, into a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


def command_line(argv: list[str]) -> int:
    """The exit code of `python -m electra_jax ARGV`."""
    sys.argv = ["electra_jax", *argv]
    print("$ python -m electra_jax", *argv, flush=True)
    try:
        runpy.run_module("electra_jax", run_name="__main__", alter_sys=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def strangers(root: Path) -> list[str]:
    """Files of the package, or of the shipped configurations, that come from elsewhere."""
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        mine = name.split(".")[0] == "electra_jax"
        if file and (mine or Path(file).parent.name == "configs"):
            if not Path(file).resolve().is_relative_to(root):
                found.append(file)
    return found


def main(plan_file: str) -> int:
    """Runs the jobs of a plan; writes one line a job to the plan's `results`."""
    plan = json.loads(Path(plan_file).read_text(encoding="utf-8"))
    root = Path(plan["root"])
    assert Path.cwd() == root and Path("configs/pretrain.py").is_file(), f"started in {Path.cwd()}"
    programs, stop = Programs(), StopAfter()
    failed: set[str] = set()
    with open(plan["results"], "a", encoding="utf-8", buffering=1) as results:
        for job in plan["jobs"]:
            scenario = job["scenario"]
            if scenario in failed:
                continue
            began = time.perf_counter()
            if job.get("copy"):
                source, target = map(Path, job["copy"])
                shutil.copytree(source, target)
                code = 0
            else:
                programs.folder, stop.left = Path(job["programs"]), job["stop_after"]
                with output_to(Path(job["log"])):
                    code = command_line(job["argv"])
                programs.folder, stop.left = None, 0
            if foreign := strangers(root):
                raise SystemExit(f"code of another checkout was imported: {foreign}")
            line = {"scenario": scenario, "code": code, "seconds": time.perf_counter() - began}
            line["expected"] = job["expected"]
            results.write(json.dumps(line) + "\n")
            if code != job["expected"]:
                failed.add(scenario)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
