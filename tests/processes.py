"""Two processes of one tiny run, over loopback: as two hosts are to each other."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tiny_run import command, environment

# The second process never finds what it compiles in JAX's cache, so let it be quick.
QUICK = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def heeding_interrupts(command: list[str]) -> list[str]:
    """The command with SIGINT heeded: a shell that runs the tests in the background ignores it."""
    script = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-c", script, *command]


class Pair:
    """`with Pair(rows, workdir, *overrides) as pair:` starts both; what is left is killed."""

    def __init__(self, rows: Path, workdir: Path, *overrides: str) -> None:
        port = free_port()
        self._told = [workdir.parent / f"{workdir.name}.{number}" for number in range(2)]
        self.processes = []
        for number, told in enumerate(self._told):
            arguments = [
                f"--coordinator=localhost:{port}", "--num_processes=2", f"--process_id={number}"
            ]  # fmt: skip
            with open(told, "w") as stream:
                self.processes.append(
                    subprocess.Popen(
                        heeding_interrupts([*command(rows, workdir, *overrides), *arguments]),
                        env={**environment(), "XLA_FLAGS": QUICK},
                        stdout=subprocess.DEVNULL,
                        stderr=stream,
                    )
                )

    def wait_until(self, condition: Callable[[], object], seconds: float = 400) -> None:
        """Waits; a process that ends meanwhile fails the test with what it said."""
        end = time.monotonic() + seconds
        while not condition():
            for number, process in enumerate(self.processes):
                assert process.poll() is None, self.told(number)
            assert time.monotonic() < end, f"nothing happened: {self.told(0)}"
            time.sleep(0.005)

    def codes(self, seconds: float = 400) -> list[int]:
        """Both exit codes, when both have ended."""
        return [process.wait(timeout=seconds) for process in self.processes]

    def told(self, number: int) -> str:
        """What a process wrote to standard error."""
        return self._told[number].read_text()

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
