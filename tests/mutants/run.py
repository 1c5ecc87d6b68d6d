"""Plants known bugs one at a time and expects an ordinary test to catch each (`make mutants`).

Each bug is a changed line in a copy of the package in a temporary folder; only the tests named
beside it run there, without the recorded oracles. Prints a table; exit code 1 when a bug survives.

    python tests/mutants/run.py [--jobs=N] [--list] [WORDS OF A NAME]...
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from planted import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("electra_jax", "tests", "configs", "pyproject.toml")
TIMEOUT_SECONDS = 900
PASSED, FAILED = 0, 1  # exit codes of pytest; others mean that it could not run the tests


def copy_of_the_project(folder: Path) -> Path:
    """What the tests need, in `folder`."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, folder / name)
    return folder


def run_tests(folder: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """(exit code, output) of the tests in a copy, until the first failure."""
    environment = {k: v for k, v in os.environ.items() if k != "ELECTRA_JAX_ORACLES"}
    environment["PYTHONPATH"] = str(folder)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "-rf"]
    command += ["-p", "no:cacheprovider", *(f"tests/{t}" for t in tests)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def plant(folder: Path, mutant: Mutant) -> str:
    """Changes the copy; returns the file's text as it was. Raises where the string is not there."""
    path = folder / "electra_jax" / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(
            f"mutant {mutant.name!r}: its string occurs {text.count(mutant.old)} times in "
            f"electra_jax/{mutant.file}, not once; bring tests/mutants/planted.py up to date:\n"
            f"{mutant.old}"
        )
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    return text


def verdict(code: int, output: str) -> tuple[bool, str]:
    """(caught, the test that caught it or what went wrong)."""
    if code == FAILED:
        found = re.search(r"^FAILED tests/(\S+)", output, re.MULTILINE)
        error = re.search(r"^ERROR tests/(\S+)", output, re.MULTILINE)
        return True, (found or error).group(1) if found or error else "?"
    if code == PASSED:
        return False, "SURVIVED"
    return False, f"pytest could not run the tests (exit {code}): {output[-600:]}"


def hunt(folder: Path, mutant: Mutant) -> tuple[bool, str, float]:
    """Plants a bug, runs its tests, takes it out again."""
    original = plant(folder, mutant)
    start = time.perf_counter()
    try:
        caught, by = verdict(*run_tests(folder, mutant.tests))
    except subprocess.TimeoutExpired:
        caught, by = False, f"no verdict after {TIMEOUT_SECONDS} s"
    finally:
        (folder / "electra_jax" / mutant.file).write_text(original, encoding="utf-8")
    return caught, by, time.perf_counter() - start


def main() -> int:
    """Runs the suite; the number of mutants that survived decides the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only mutants whose name contains one of these")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    arguments = parser.parse_args()
    chosen = [
        m for m in MUTANTS if not arguments.words or any(w in m.name for w in arguments.words)
    ]
    if arguments.list:
        print(*(m.name for m in chosen), sep="\n")
        return 0
    if not chosen:
        parser.error("no mutant has that name")

    with tempfile.TemporaryDirectory(prefix="electra_jax-mutants-") as temporary:
        copies: queue.Queue[Path] = queue.Queue()
        for i in range(arguments.jobs):
            copies.put(copy_of_the_project(Path(temporary, str(i))))
        first = Path(temporary, "0")
        for mutant in chosen:  # every string first: a stale list is known at once
            path = first / "electra_jax" / mutant.file
            path.write_text(plant(first, mutant), encoding="utf-8")
        tests = tuple(dict.fromkeys(t for m in chosen for t in m.tests))
        code, output = run_tests(first, tests)
        if code != PASSED:
            print(f"the tests fail without any bug planted:\n{output[-3000:]}", file=sys.stderr)
            return 1

        def one(mutant: Mutant) -> tuple[bool, str, float]:
            folder = copies.get()
            try:
                return hunt(folder, mutant)
            finally:
                copies.put(folder)

        survivors = 0
        print("| planted bug | caught | by | s |\n|---|---|---|---|")
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            for mutant, (caught, by, seconds) in zip(chosen, pool.map(one, chosen), strict=True):
                survivors += not caught
                mark = "yes" if caught else "NO"
                print(f"| {mutant.name} | {mark} | {by} | {seconds:.0f} |", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
