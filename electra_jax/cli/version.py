"""`electra-jax --version`: what is installed and which accelerators the machine has, without a
computation: a device that is only looked at stays free for others."""

from __future__ import annotations

import glob
import os
import platform
from importlib import metadata

import electra_jax

_LIBRARIES = ("jax", "jaxlib", "flax")
# What makes JAX see an accelerator, and the devices that the system has of it.
_PLUGINS = {
    "NVIDIA GPU": (("jax-cuda13-plugin", "jax-cuda12-plugin"), "/dev/nvidia[0-9]*"),
    "AMD GPU": (("jax-rocm7-plugin", "jax-rocm60-plugin"), "/dev/dri/renderD*"),
    "TPU": (("libtpu",), "/dev/accel[0-9]*"),
}


def version_text() -> str:
    """A line for the package, each library it computes with, and the devices."""
    lines = [
        f"electra-jax {electra_jax.__version__}",
        f"python {platform.python_version()} ({platform.system()} {platform.machine()})",
        *(f"{name} {_version(name) or 'not installed'}" for name in _LIBRARIES),
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines.append(f"CPU: {cores} cores")
    for kind, (plugins, pattern) in _PLUGINS.items():
        found = [f"{name} {version}" for name in plugins if (version := _version(name))]
        devices = glob.glob(pattern)
        if kind == "AMD GPU" and not found:
            continue  # render nodes are there for displays and other makers' cards too
        if found or devices:
            support = ", ".join(found) or "no plugin of JAX for it is installed"
            lines.append(f"{kind}: {len(devices) or 'no device'} ({support})")
    if chosen := os.environ.get("JAX_PLATFORMS"):
        lines.append(f"JAX_PLATFORMS={chosen}")
    return "\n".join(lines)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
