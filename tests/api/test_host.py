"""The settings of a process that computes: in processes of their own, as they last."""

import os
import subprocess
import sys

from tiny_run import environment

SCRIPT = """
import jax
from electra_jax.api.host import prepare_host
from electra_jax.training.host_memory import keep_freed_memory
prepare_host()
prepare_host()
print(keep_freed_memory.cache_info().currsize, jax.config.jax_compilation_cache_dir)
jax.jit(lambda x: x + 1)(1)
"""


def prepared(**variables):
    """(malloc was set up once, the cache's folder or "None") of a process that prepared itself."""
    given = {k: v for k, v in environment().items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True, text=True, env={**given, **variables}, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_compiled_programs_are_kept_in_the_user_s_cache(tmp_path):
    once, folder = prepared(XDG_CACHE_HOME=str(tmp_path))
    assert once == "1" and folder.startswith(str(tmp_path / "electra_jax" / "compiled"))
    assert os.listdir(folder)


def test_a_folder_that_the_environment_names_is_left_as_it_is(tmp_path):
    named = tmp_path / "mine"
    assert prepared(JAX_COMPILATION_CACHE_DIR=str(named), XDG_CACHE_HOME=str(tmp_path))[1] == str(
        named
    )
    assert not (tmp_path / "electra_jax").exists()
