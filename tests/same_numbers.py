"""Does the working tree compute what another commit computed, bit for bit?  `make same`

    python tests/same_numbers.py [--base=COMMIT] [--quick] [--list] [--fresh] [--keep=DIR]
                                 [--jobs=N] [WORDS OF A NAME]...

Old code (`--base`, checked out into a temporary git worktree) and new code (the tree this file lies
in) run the scenarios of tests/same/scenarios.py at tiny size, each in processes of its own on this
machine: pretraining, fine-tuning, evaluate, predict, convert, and runs that old code began and new
code ends. Compared (tests/same/compare.py): exported weights, checkpoints' digests, metrics,
predictions and scores, the models' configurations, and the optimised program (HLO) of every
compiled step, its metadata left out. evaluate, predict and convert read what old code wrote; where
the models' bytes are equal, old code reads those of new code too.

A line a scenario, `same` or `DIFFERENT` and what; exit code 1 where anything differs, 2 where the
comparison could not be made. What old code gave is kept in the cache folder, by commit, scenario,
packages and processor, and used again; `--fresh` runs it again. Words choose the scenarios whose
names have one of them; `--quick` a representative third.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from same import compare, inputs
from same.changed import unmeant
from same.scenarios import INPUTS, SCENARIOS, Scenario, Step

ROOT = Path(__file__).resolve().parents[1]
DRIVER = Path(__file__).parent / "same" / "driver.py"
BASE = "b199300"
SHOWN = 6  # differences of a scenario that are printed; `--keep` has the rest in different.txt


class CannotCompare(Exception):
    """No checkout, no such commit, or old code failed."""


def git(*words: str) -> str:
    """What git says in this tree."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotCompare(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A temporary worktree of a commit."""
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as folder:
        tree = Path(folder).resolve() / "old"
        git("worktree", "add", "--detach", "--force", str(tree), commit)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def cache_root() -> Path:
    """Where old results and compiled programs are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "electra_jax-tests"


def machine() -> str:
    """What the same results may depend on beside the code: processor, Python, packages."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        processor = next(x for x in text.splitlines() if x.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        processor = platform.processor()
    packages = sorted(
        f"{d.name}=={d.version}"
        for d in importlib.metadata.distributions()
        if d.name not in ("electra_jax", "electra-jax")
    )
    cores = str(os.cpu_count())
    return "\n".join([processor, platform.machine(), cores, sys.version, *packages])


def digest(*texts: str) -> str:
    """A name for some texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


@dataclasses.dataclass
class Side:
    """A checkout that runs scenarios into folders of its own."""

    name: str
    root: Path
    outputs: Path
    inputs: Path
    old: Path
    jobs: int = 1

    def plan(self, scenario: str, steps: Sequence[Step]) -> list[dict[str, Any]]:
        """The driver's jobs of one scenario."""
        out = self.outputs / scenario
        names = {"out": out, "old": self.old / scenario, "inputs": self.inputs, "root": self.root}

        def filled(words: Sequence[str]) -> list[str]:
            found = list(words)
            for name, path in names.items():
                found = [word.replace(f"{{{name}}}", str(path)) for word in found]
            return found

        return [
            {
                "scenario": scenario,
                "argv": filled(step.argv),
                "copy": filled(step.copy) if step.copy else None,
                "stop_after": step.stop_after,
                "expected": step.expected,
                "programs": str(out / "programs"),
                "log": str(out / "log.txt"),
            }
            for step in steps
            if self.root != ROOT or not step.old_only
        ]

    def run(
        self,
        work: Sequence[tuple[str, Sequence[Step]]],
        finished: Callable[[str], object] = lambda scenario: None,
    ) -> tuple[dict[str, float], list[str]]:
        """({scenario that went well: seconds}, what ended a driver before its time).

        `finished` hears of each that went well as soon as it has.
        """
        for scenario, _ in work:
            shutil.rmtree(self.outputs / scenario, ignore_errors=True)
            (self.outputs / scenario).mkdir(parents=True)
        planned = {scenario: self.plan(scenario, steps) for scenario, steps in work}
        with tempfile.TemporaryDirectory() as folder:
            started = []
            for number in range(min(self.jobs, len(work))):
                names = list(planned)[number :: self.jobs]
                jobs = [job for name in names for job in planned[name]]
                started.append(self._start(Path(folder), number, jobs))
            went_well: dict[str, float] = {}
            running = True
            while running:
                running = any(process.poll() is None for process, _ in started)
                for name, seconds in self._results(Path(folder), planned).items():
                    if name not in went_well:
                        finished(name)
                    went_well[name] = seconds
                time.sleep(0.5 * running)
            wrong = [
                told.read_text(errors="replace").strip()[-2000:]
                for process, told in started
                if process.returncode
            ]
        return went_well, wrong

    @staticmethod
    def _results(folder: Path, planned: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
        """{scenario all of whose jobs have ended as expected: seconds}."""
        lines = []
        for file in sorted(folder.glob("*.results")):
            whole = file.read_text().rpartition("\n")[0]
            lines += [json.loads(line) for line in whole.splitlines()]
        found = {}
        for name, jobs in planned.items():
            mine = [line for line in lines if line["scenario"] == name]
            if len(mine) == len(jobs) and all(x["code"] == x["expected"] for x in mine):
                found[name] = sum(line["seconds"] for line in mine)
        return found

    def _start(
        self, folder: Path, number: int, jobs: list[dict[str, Any]]
    ) -> tuple[subprocess.Popen[bytes], Path]:
        """(a driver at work on jobs, the file that it prints to)."""
        plan, told = folder / f"{number}.json", folder / f"{number}.txt"
        results = str(folder / f"{number}.results")
        plan.write_text(json.dumps({"root": str(self.root), "results": results, "jobs": jobs}))
        with open(told, "w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-P", str(DRIVER), str(plan)],
                cwd=self.root,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        return process, told

    def environment(self) -> dict[str, str]:
        """This checkout alone on the path, one device, nothing random."""
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("ELECTRA_JAX", "XLA_", "JAX_")) and k != "PYTHONPATH"
        }
        compiled = os.environ.get("JAX_COMPILATION_CACHE_DIR")
        return kept | {
            "PYTHONPATH": str(self.root),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "JAX_PLATFORMS": "cpu",
            # Machine code made quickly; the program (HLO) that it is made from stays the same.
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
            "JAX_COMPILATION_CACHE_DIR": compiled or str(cache_root() / digest(machine())),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def log(self, scenario: str) -> str:
        """The end of what a scenario printed."""
        file = self.outputs / scenario / "log.txt"
        return (
            "\n".join(file.read_text(errors="replace").splitlines()[-12:]) if file.exists() else ""
        )


def claim(held: contextlib.ExitStack, file: Path, mark: Path, fresh: bool = False) -> IO[str]:
    """A lock on something that is kept: shared where its mark says that it is there, else alone,
    to make it. Processes that compare at the same time wait for each other here."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = held.enter_context(open(file, "w"))
    while True:
        there = mark.exists() and not fresh
        fcntl.flock(lock, fcntl.LOCK_SH if there else fcntl.LOCK_EX)
        if there == (mark.exists() and not fresh):
            return lock


def make_inputs(side: Side, mark: Path) -> None:
    """What every scenario starts from, by old code."""
    shutil.rmtree(side.inputs, ignore_errors=True)
    side.inputs.mkdir(parents=True)
    inputs.write_inputs(side.inputs)
    done, wrong = side.run([("making-inputs", INPUTS)])
    if "making-inputs" not in done:
        told = "\n".join(wrong) or side.log("making-inputs")
        raise CannotCompare(f"old code made no inputs\n{told}")
    mark.touch()


def run_old(
    held: contextlib.ExitStack, commit: str, chosen: Sequence[Scenario], kept: Path, fresh: bool,
    jobs: int,
) -> list[str]:  # fmt: skip
    """Fills `kept` with old code's outputs of the chosen scenarios, where they are not there;
    returns those in which it failed."""
    began = time.monotonic()
    (kept / "done").mkdir(parents=True, exist_ok=True)
    ready = kept / "done" / "inputs"
    locks = [claim(held, kept / "locks" / "inputs", ready)]
    marks = {s.name: kept / "done" / digest(s.name, repr(s)) for s in chosen}
    for name in sorted(marks):
        file = kept / "locks" / name.replace("/", "-")
        locks.append(claim(held, file, marks[name], fresh))
    work = [s for s in chosen if fresh or not marks[s.name].exists()]
    print(f"old code, {commit[:7]}: {len(work)} of {len(chosen)} scenarios to run", flush=True)
    if work:
        with checkout(commit) as tree:
            side = Side("old", tree, kept / "old", kept / "inputs", kept / "old", jobs)
            if not ready.exists():
                make_inputs(side, ready)
            for scenario in work:
                marks[scenario.name].unlink(missing_ok=True)
            steps = [(s.name, s.steps) for s in work]
            _, wrong = side.run(steps, lambda name: marks[name].touch())
        for text in wrong:
            print(f"a process of old code ended: {text}", file=sys.stderr)
        print(f"old code: {time.monotonic() - began:.0f} s", flush=True)
    for lock in locks:
        fcntl.flock(lock, fcntl.LOCK_SH)  # nobody replaces what is read from here on
    return [name for name, mark in marks.items() if not mark.exists()]


def judge(scenario: Scenario, old: Path, new: Path) -> list[str]:
    """What differs between the sides, and between folders of the new one that must be equal."""
    found = compare.differences(old / scenario.name, new / scenario.name)
    for first, second in scenario.equal:
        a, b = (new / scenario.name / name for name in (first, second))
        found += compare.differences(a, b, f"{second} and {first}: ")
    return found


def choose(words: Sequence[str], quick: bool) -> list[Scenario]:
    """The scenarios whose names have one of the words."""
    unknown = [w for w in words if not any(w in s.name for s in SCENARIOS)]
    if unknown:
        raise CannotCompare(f"no scenario's name has {unknown[0]!r}; --list shows them")
    return [
        s
        for s in SCENARIOS
        if (not words or any(w in s.name for w in words)) and (s.quick or not quick)
    ]


def run(arguments: argparse.Namespace, new: Path) -> int:
    """Both sides, then the lines and the table."""
    chosen = choose(arguments.words, arguments.quick)
    commit = git("rev-parse", "--verify", f"{arguments.base}^{{commit}}")
    own = DRIVER.read_text() + Path(inputs.__file__).read_text() + repr(INPUTS)
    kept = cache_root() / "same_numbers" / digest(commit, own, machine())
    with contextlib.ExitStack() as held:
        failed = run_old(held, commit, chosen, kept, arguments.fresh, arguments.jobs)
        old = Side("old", ROOT, kept / "old", kept / "inputs", kept / "old")
        for name in failed:
            print(f"{name}: NOT COMPARED, old code failed\n{old.log(name)}", flush=True)
        chosen = [s for s in chosen if s.name not in failed]
        began = time.monotonic()
        side = Side("new", ROOT, new, kept / "inputs", kept / "old", arguments.jobs)
        done, wrong = side.run([(s.name, s.steps) for s in chosen])
        for text in wrong:
            print(f"a process of new code ended: {text}", file=sys.stderr)
        different = []
        for scenario in chosen:
            reasons: list[str] = []
            if scenario.name in done:
                found, reasons = unmeant(scenario.name, judge(scenario, kept / "old", new))
            else:
                found = [f"new code failed\n{side.log(scenario.name)}"]
            if found:
                different.append(scenario.name)
                (new / scenario.name / "different.txt").write_text("\n".join(found) + "\n")
            width = max(len(s.name) for s in chosen)
            seconds = done.get(scenario.name, 0.0)
            print(
                f"{scenario.name:{width}}  {seconds:5.1f} s  {verdict(found, reasons)}", flush=True
            )
    print(f"\nnew code: {time.monotonic() - began:.0f} s")
    print_table([scenario.name for scenario in chosen], different)
    return 1 if different else 2 if failed else 0


def verdict(found: Sequence[str], reasons: Sequence[str]) -> str:
    """`same`, what was changed on purpose, or `DIFFERENT` and what."""
    if not found:
        return f"same, but: {'; '.join(reasons)}" if reasons else "same"
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n    ".join([f"DIFFERENT: {found[0]}", *found[1:SHOWN], *more])


def print_table(names: Sequence[str], different: Sequence[str]) -> None:
    """How many of each group are the same."""
    print(f"{'group':10} {'same':>5} {'different':>10}")
    groups = list(dict.fromkeys(name.split("/")[0] for name in names))
    for group in [*groups, "all"]:
        mine = [name for name in names if group in ("all", name.split("/")[0])]
        count = sum(name in different for name in mine)
        print(f"{group:10} {len(mine) - count:5} {count:10}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="scenarios whose names have one")
    parser.add_argument("--base", default=BASE, metavar="COMMIT", help="old code")
    parser.add_argument("--quick", action="store_true", help="a representative third")
    parser.add_argument("--list", action="store_true", help="name the scenarios, run none")
    parser.add_argument("--fresh", action="store_true", help="run old code again too")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="new code's outputs stay there")
    parser.add_argument("--jobs", type=int, default=2, help="processes a side")
    arguments = parser.parse_args(argv)
    try:
        if arguments.list:
            for scenario in choose(arguments.words, arguments.quick):
                print(scenario.name)
            return 0
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            return run(arguments, arguments.keep.resolve())
        with tempfile.TemporaryDirectory(prefix="same-numbers-new-") as folder:
            return run(arguments, Path(folder).resolve())
    except CannotCompare as error:
        print(f"same_numbers: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
