"""`electra-jax --version`: what a bug report needs, and no device is touched for it."""

import subprocess
import sys
from importlib import metadata

import pytest
from tiny_run import environment

import electra_jax
from electra_jax.cli import main
from electra_jax.cli import version as module
from electra_jax.cli.version import version_text


@pytest.mark.parametrize("word", ["--version", "-V", "version"])
def test_versions_are_printed(word, capsys):
    assert main([word]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"electra-jax {electra_jax.__version__}"
    for name in ("jax", "jaxlib", "flax"):
        assert f"{name} {metadata.version(name)}" in lines


def test_it_imports_nothing_that_could_take_a_device():
    script = """
import sys
from electra_jax.cli import main
print(main(["--version"]), sorted({"jax", "jaxlib", "flax", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment()
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


@pytest.mark.parametrize(
    ("installed", "devices", "line"),
    [
        ({"jax-cuda13-plugin": "0.10.2"}, 2, "NVIDIA GPU: 2 (jax-cuda13-plugin 0.10.2)"),
        ({}, 2, "NVIDIA GPU: 2 (no plugin of JAX for it is installed)"),
        ({"jax-cuda12-plugin": "1"}, 0, "NVIDIA GPU: no device (jax-cuda12-plugin 1)"),
        ({}, 0, None),
    ],
)
def test_devices_and_what_makes_jax_see_them(monkeypatch, tmp_path, installed, devices, line):
    for number in range(devices):
        (tmp_path / f"nvidia{number}").touch()
    plugins, _ = module._PLUGINS["NVIDIA GPU"]
    monkeypatch.setattr(module, "_PLUGINS", {"NVIDIA GPU": (plugins, f"{tmp_path}/nvidia[0-9]*")})
    monkeypatch.setattr(module, "_version", installed.get)
    found = [x for x in version_text().splitlines() if "GPU" in x]
    assert found == ([line] if line else [])
