"""The versions in config.json: of what is installed, and nothing invented."""

import importlib.metadata
import platform

import jax

from electra_jax.training.versions import versions


def test_versions_are_those_of_the_installed_packages(monkeypatch):
    found = versions()
    assert found.pop("python") == platform.python_version()
    assert found.pop("device") == jax.devices()[0].device_kind
    assert {"jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"} <= set(found)
    assert all(importlib.metadata.version(name) == version for name, version in found.items())


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    installed = importlib.metadata.version

    def without_flax(name):
        if name == "flax":
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "version", without_flax)
    assert "flax" not in versions() and "jax" in versions()
