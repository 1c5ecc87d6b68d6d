"""The versions of Python, the packages and the device that compute a run, for config.json."""

from __future__ import annotations

import importlib.metadata
import platform

import jax


def versions() -> dict[str, str]:
    """{name: version} of Python and the packages that are installed, and `device`, its kind."""
    packages = ("electra_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "device": jax.devices()[0].device_kind}
