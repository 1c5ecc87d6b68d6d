"""Runs a piece of Python in a process of its own that sees n CPU devices."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run_with_devices(
    n: int, script: str, *arguments: str, timeout: float = 300.0, env: dict[str, str] | None = None
) -> str:
    """Runs `script` (source text) where jax.device_count() is n, and returns what it printed.

    The number of CPU devices is fixed when JAX starts, hence the process. `arguments` are its
    sys.argv[1:]; `env` adds to the inherited environment (which conftest.py prepared). A script
    that fails, fails the test with the end of its error output.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={n}".strip(),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        **(env or {}),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(
            f"the process with {n} devices ended with {done.returncode}:\n{done.stderr[-4000:]}"
        )
    return done.stdout
