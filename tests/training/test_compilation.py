"""The compilation cache in the folder of the user."""

import os
import subprocess
import sys
from pathlib import Path

import jax

from electra_jax.training.compilation import use_compilation_cache


def test_compiled_programs_are_kept_in_the_user_s_cache_folder(tmp_path):
    script = (
        "import jax\n"
        "from electra_jax.training.compilation import use_compilation_cache\n"
        "print(use_compilation_cache())\n"
        "jax.jit(lambda x: x * 2 + 1)(3.0).block_until_ready()\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to(tmp_path / "electra_jax") and list(folder.iterdir())
    environment["JAX_COMPILATION_CACHE_DIR"] = ""
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "None"


def test_a_folder_that_cannot_be_made_turns_the_cache_off(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    before = jax.config.jax_compilation_cache_dir
    assert use_compilation_cache() is None
    assert jax.config.jax_compilation_cache_dir == before
