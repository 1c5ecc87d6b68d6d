"""The versions of what computes a run, for its record."""

from __future__ import annotations

import importlib.metadata
import platform

import jax


def versions() -> dict[str, str]:
    """Of what computes a run."""
    packages = ("electra_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "device": jax.devices()[0].device_kind}
